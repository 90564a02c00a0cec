"""Plain data in, plain data out: how values cross from one process to another.

Pickle is the fastest serialiser of the standard library and keeps tuples, bytes and integer
keys; but it would import whatever class a byte stream names.  Here both ends are narrowed: what
is not plain is made plain by the sender (an enumeration becomes its value, a dataclass a
dictionary, an unknown object its repr), and the receiver refuses every name but those of plain
types.  So a message of a script never needs the script's classes, and never runs its code.
"""

from __future__ import annotations

import dataclasses
import enum
import io
import os
import pickle
from typing import Any

_PLAIN_TYPES = (str, bytes, bytearray, int, float, complex, bool, list, tuple, dict, set, frozenset)
_PLAIN_NAMES = {plain.__name__: plain for plain in _PLAIN_TYPES}
_LONGEST_REPR = 10_000


class NotPlainError(ValueError):
    """The bytes are not a message of plain data."""


def _described(obj: object) -> str:
    try:
        return repr(obj)[:_LONGEST_REPR]
    except Exception:  # a foreign __repr__ may raise anything; the message must still travel
        return f"<{type(obj).__qualname__} object>"


def as_plain(obj: Any) -> Any:
    """Return the plain value that stands for `obj`, one level deep."""
    if isinstance(obj, enum.Enum):
        return obj.value if isinstance(obj.value, _PLAIN_TYPES) else obj.name
    base: Any
    for base in (str, int, float, dict, list, tuple, set, frozenset, bytes):
        if isinstance(obj, base):
            return base(obj)
    if dataclasses.is_dataclass(obj) and not isinstance(obj, type):
        return {field.name: getattr(obj, field.name) for field in dataclasses.fields(obj)}
    if isinstance(obj, os.PathLike):
        return os.fspath(obj)
    for method in ("isoformat", "tolist", "model_dump"):  # dates, NumPy, pydantic
        convert = getattr(obj, method, None)
        if callable(convert) and not isinstance(obj, type):
            try:
                return convert()
            except Exception:
                break
    return _described(obj)


class _PlainPickler(pickle.Pickler):
    replaced = False

    def reducer_override(self, obj: Any) -> Any:
        if obj in _PLAIN_TYPES if isinstance(obj, type) else False:
            return NotImplemented  # the constructor named below
        if type(obj) is complex:
            return complex, (obj.real, obj.imag)
        self.replaced = True
        try:
            plain = as_plain(obj)
        except Exception:  # the methods of a foreign class may raise anything
            plain = _described(obj)
        if type(plain) not in _PLAIN_TYPES:
            plain = _described(obj)
        return type(plain), (plain,)


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module == "builtins" and name in _PLAIN_NAMES:
            return _PLAIN_NAMES[name]
        raise NotPlainError(f"a message names {module}.{name}, which is not plain data")


def dumps(value: Any) -> bytes:
    """Return `value` as bytes; what is not plain is replaced by what stands for it.

    :raises NotPlainError: it nests too deeply, or cannot be read again once it is plain
    """
    buffer = io.BytesIO()
    pickler = _PlainPickler(buffer, protocol=5)
    try:
        pickler.dump(value)
    except RecursionError:
        raise NotPlainError("the value nests too deeply") from None
    if pickler.replaced:
        # A dataclass in a set becomes a dictionary in a set, for instance: let the sender know, not the readers.
        loads(buffer.getbuffer())
    return buffer.getvalue()


def loads(data: bytes | bytearray | memoryview) -> Any:
    """Return the value in `data`.

    :raises NotPlainError: the bytes are no such message
    """
    try:
        return _PlainUnpickler(io.BytesIO(data)).load()
    except NotPlainError:
        raise
    except Exception as error:  # pickle raises nearly every kind for a broken stream
        raise NotPlainError(f"a message cannot be read: {error!r}") from error
