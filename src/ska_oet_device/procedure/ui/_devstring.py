"""What a DevString carries: Latin-1, and therefore JSON that is ASCII."""

from __future__ import annotations

import json
import math
from typing import Any

LARGEST_EVENT = 64 * 1024
"""Bytes of a value that is pushed, but for the lists of procedures: a thousand may wait for a subscriber."""

_DEEPEST = 100
_MOST_BITS = 10_000  # Python writes no integer of more than 4,300 digits


def latin1(text: str) -> str:
    """Return `text` as a DevString can carry it: other characters escaped, and no NUL, which would end it."""
    if not text.isascii():
        text = text.encode("latin-1", "backslashreplace").decode("latin-1")
    return text.replace("\0", "\\x00")


def cut(text: str, most: int = LARGEST_EVENT) -> str:
    """Return `text` without its middle if it has more than `most` characters."""
    if len(text) <= most:
        return text
    note = f" [{len(text) - most} characters left out] "
    half = (most - len(note)) // 2
    return f"{text[:half]}{note}{text[-half:]}"


def to_json(value: Any) -> str:
    """Return `value` as ASCII JSON; what JSON does not know becomes text."""
    try:
        return json.dumps(value, default=repr, allow_nan=False)
    except (ValueError, TypeError, RecursionError):  # NaN, keys that are no text, circles: a script may send anything
        return json.dumps(_jsonable(value, ()), default=_shown)


def _jsonable(value: Any, around: tuple[int, ...]) -> Any:
    """Return what JSON can say of `value`; `around` are the ids of the containers that it lies in."""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        return hex(value)
    if isinstance(value, (dict, list, tuple)):
        if id(value) in around or len(around) >= _DEEPEST:
            return "…"
        around = (*around, id(value))
    if isinstance(value, dict):
        return {key if isinstance(key, str) else _shown(key): _jsonable(item, around) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item, around) for item in value]
    return value


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits in it, or too deep
        return f"<{type(value).__name__}>"
