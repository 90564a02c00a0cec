"""JSON as the device takes it: what a user gives is looked at before anything is asked, so that an error names it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

_DEEPEST = 200  # levels, as the contract has it


def to_json(data: Any) -> str:
    """Return JSON as a DevString takes it: ASCII."""
    return json.dumps(data, allow_nan=False)


def plain(value: Any, where: str, depth: int = 0) -> Any:
    """Return a value of a user as JSON knows it: a tuple becomes a list, and NumPy's numbers and arrays what they hold.

    :param where: what it is, for an error
    :raises ValueError: NaN or infinity, or it nests too deeply
    :raises TypeError: JSON does not know such a value, or a key is no text
    """
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{where}: {value} is no number that JSON knows")
        return value
    if depth > _DEEPEST:
        raise ValueError(f"{where}: it nests deeper than {_DEEPEST} levels")
    if isinstance(value, (list, tuple)):
        return [plain(item, f"{where}[{index}]", depth + 1) for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        return {_key(key, where): plain(item, f"{where}[{key!r}]", depth + 1) for key, item in value.items()}
    if type(value).__module__ == "numpy":
        return plain(value.tolist(), where, depth + 1)
    raise TypeError(f"{where}: JSON knows no {type(value).__qualname__} ({_shown(value)})")


def _key(key: Any, where: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"{where}: the key {_shown(key)} is no text")
    return key


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
