"""What `main` returns, as JSON for the record.

Runs in the main thread of a worker a signal interrupts it: some of it is code of the script's classes.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import os
import sys
from collections.abc import Iterable
from typing import Any

from ..messages import LARGEST_RESULT, LONGEST_REASON
from ._failures import reason_of

_DEEPEST = 100  # levels of lists and objects
_NODE = 2  # bytes: the least that a value takes with what separates it from the next
_AS_TEXT = (("decimal", "Decimal"), ("fractions", "Fraction"), ("uuid", "UUID"))


class _NotJsonError(Exception):
    """A value cannot be kept; the message says which, and why."""


def result_of(value: Any) -> tuple[str | None, str]:
    """Return a value as JSON of at most 64 KiB, and why there is none; None and "" for None.

    - Tuples, sets and ranges become lists, a dataclass an object, an enumeration its value, a path, a date, a UUID and
      a Decimal text, a timedelta seconds, NumPy's numbers and arrays what `tolist` makes of them (it is not imported).
    - What is no number (NaN, infinity) becomes null.  A key that is no text becomes what Python's `str` says.
    - A value that is, or holds, anything else is not kept.

    :raises BaseException: what a signal raises meanwhile
    """
    if value is None:
        return None, ""
    try:
        plain = _Plain().of(value, 0)
        import json  # most scripts return nothing

        text = json.dumps(plain, allow_nan=False)
    except _NotJsonError as error:
        return None, str(error)
    except Exception as error:  # the methods of a foreign class may raise anything
        return None, f"the result cannot be read: {reason_of(error)}"[:LONGEST_REASON]
    return (text, "") if len(text) <= LARGEST_RESULT else (None, _too_large())


def plain_of(value: Any) -> Any:
    """Return what stands for a value in JSON, as in `result_of`.

    :raises ValueError: nothing does
    """
    try:
        return _Plain().of(value, 0)
    except Exception as error:  # the methods of a foreign class may raise anything
        raise ValueError(str(error)) from error


def _too_large() -> str:
    return f"the result has more than {LARGEST_RESULT // 1024} KiB of JSON"


class _Plain:
    """Makes one value plain, and counts on the way: few references can stand for a value without end."""

    def __init__(self) -> None:
        self._room = LARGEST_RESULT

    def of(self, value: Any, depth: int) -> Any:
        self._take(_NODE)
        if value is None or value is True or value is False:
            return value
        if isinstance(value, enum.Enum):
            return self.of(value.value, depth + 1)
        if isinstance(value, str):
            self._take(len(value))
            return str.__str__(value)
        if isinstance(value, int):
            return int.__int__(value)
        if isinstance(value, float):
            return float.__float__(value) if math.isfinite(value) else None
        if depth > _DEEPEST:
            raise _NotJsonError(f"the result nests deeper than {_DEEPEST} levels")
        return self._container(value, depth + 1)

    def _container(self, value: Any, depth: int) -> Any:
        if isinstance(value, dict):
            return {self._key(key): self.of(item, depth) for key, item in value.items()}
        if isinstance(value, (list, tuple, set, frozenset, range)):
            return self._list(value, depth)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = [field.name for field in dataclasses.fields(value)]
            return {name: self.of(getattr(value, name), depth) for name in names}
        return self.of(self._other(value), depth)

    def _list(self, values: Iterable[Any], depth: int) -> list[Any]:
        self._take(_NODE * len(values))  # type: ignore[arg-type]
        return [self.of(item, depth) for item in values]

    def _key(self, key: Any) -> str:
        if not isinstance(key, str):
            plain = self.of(key, _DEEPEST)
            key = plain if isinstance(plain, str) else str(plain)
        self._take(len(key))
        return str.__str__(key)

    def _other(self, value: Any) -> Any:
        """Return what stands for a value of a class that is known, without importing its module."""
        if isinstance(value, os.PathLike):
            return os.fsdecode(value)
        if _is_one_of(value, "datetime", ("date", "time")):
            return value.isoformat()
        if _is_one_of(value, "datetime", ("timedelta",)):
            return value.total_seconds()
        if any(_is_one_of(value, module, (name,)) for module, name in _AS_TEXT):
            return str(value)
        if _is_one_of(value, "collections", ("deque",)):
            return list(value)
        if _is_one_of(value, "numpy", ("generic",)):
            return self._unlike(value, value.item())
        if _is_one_of(value, "numpy", ("ndarray",)) and type(value).__module__ == "numpy":  # no Quantity: it has a unit
            self._take(_NODE * value.size)
            return value.tolist()
        raise _NotJsonError(f"the result is or holds a {type(value).__qualname__}, which is no JSON"[:LONGEST_REASON])

    def _unlike(self, value: Any, plain: Any) -> Any:
        if type(plain) is type(value):  # such as NumPy's longdouble
            raise _NotJsonError(f"the result is or holds a {type(value).__qualname__}, which is no JSON")
        return plain

    def _take(self, size: int) -> None:
        self._room -= size
        if self._room < 0:
            raise _NotJsonError(_too_large())


def _is_one_of(value: Any, module: str, names: tuple[str, ...]) -> bool:
    loaded = sys.modules.get(module)
    return loaded is not None and any(isinstance(value, getattr(loaded, name, ())) for name in names)
