"""Plain data in, plain data out: how values cross from one process to another.

The bytes are JSON, which can name no constructor and share no reference: what it costs to read is known from its
length.  What JSON lacks travels as an object of one key that begins with ``!``: a tuple as ``{"!": [1, 2]}``, bytes as
``{"!bytes": "0001"}``.  What is not plain is made plain by the sender (an enumeration becomes its value, a dataclass a
dictionary, an unknown object its repr), so a message of a script never needs the script's classes.  The sender counts
while it goes through a value, for few references can stand for a value without end.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import os

# What the package json is made of; main does without the four modules around it.
from _json import encode_basestring_ascii, make_encoder, make_scanner
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

_PLAIN_TYPES = frozenset({str, bytes, bytearray, int, float, complex, bool, list, tuple, dict, set, frozenset})
_CONTAINERS = (str, int, float, dict, list, tuple, set, frozenset, bytes, bytearray)
_ATOMS = frozenset({str, int, float, bool, type(None)})
_TEXT = frozenset({str})
_LONGEST_REPR = 10_000
_DEEPEST = 400  # levels of JSON; Python follows 1,000
_NODE = 2  # characters: brackets, and what separates a value from the next
_FEW = 64  # values; Python writes no integer of more than 4,300 digits in decimals
_SAME_HASH = 64  # keys; Python takes quadratic time for those whose hash is the same


class NotPlainError(ValueError):
    """The bytes are not a message of plain data, or a value cannot be made one."""


class TooLargeError(NotPlainError):
    """The value is larger than a message may be."""


# -- what stands for what is not plain


def _described(obj: object) -> str:
    try:
        return str.__str__(repr(obj))[:_LONGEST_REPR]
    except Exception:  # a foreign __repr__ may raise anything; the message must still travel
        return f"<{type(obj).__qualname__} object>"


def as_plain(obj: Any) -> Any:
    """Return the plain value that stands for `obj`, one level deep."""
    if isinstance(obj, enum.Enum):
        return obj.value if type(obj.value) in _PLAIN_TYPES else obj.name
    base: Any
    for base in _CONTAINERS:
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


def _replacement(obj: Any) -> Any:
    try:
        plain = as_plain(obj)
    except Exception:  # the methods of a foreign class may raise anything
        plain = _described(obj)
    return plain if type(plain) in _PLAIN_TYPES or plain is None else _described(obj)


# -- writing


class _Writer:
    """Makes one value what JSON can say, and counts on the way; what is flat already is taken as it is.

    :param room: how many characters the value may take
    :param hex_ints: write integers in hexadecimal: one of them has too many digits
    """

    def __init__(self, room: int, *, hex_ints: bool = False) -> None:
        self.room = room
        self.hex_ints = hex_ints
        self.replaced = False

    def write(self, value: Any, depth: int) -> Any:
        kind = type(value)
        write = _WRITERS.get(kind)
        if write is not None:
            if depth > _DEEPEST:
                raise NotPlainError("the value nests too deeply")
            return write(self, value, depth)
        if kind in _ATOMS:
            self.take(len(value) if kind is str else 1)
            return {"!int": hex(value)} if kind is int and self.hex_ints else value
        self.replaced = True
        return self.write(_replacement(value), depth + 1)

    def take(self, characters: int) -> None:
        self.room -= characters
        if self.room < 0:
            raise TooLargeError("the value is too large for a message")

    def is_flat(self, values: Collection[Any]) -> bool:
        """Count values, and say whether they can be written as they are; if not, what they are is counted with each.

        It may be less than they take, and is never more: what is allowed is not refused.
        """
        self.take(_NODE * max(1, len(values)))
        kinds = set(map(type, values))
        if not kinds <= _ATOMS or (self.hex_ints and int in kinds):
            return False
        if str in kinds:
            self.take(sum([len(each) for each in values if type(each) is str]))
        if int in kinds:  # no digit says more than four bits
            self.take(sum([each.bit_length() for each in values if type(each) is int]) // 4)
        return True

    def write_dict(self, value: dict[Any, Any], depth: int) -> Any:
        value = value.copy()  # at once: another thread may change it meanwhile
        if set(map(type, value)) <= _TEXT and not _is_marked(value):
            self.take(sum(map(len, value)))
            if self.is_flat(value.values()):
                return value
            return {key: self.write(item, depth + 1) for key, item in value.items()}
        _check_hashes(value)
        self.take(_NODE * len(value))
        return {"!dict": [[self.write(key, depth + 3), self.write(item, depth + 3)] for key, item in value.items()]}

    def write_list(self, value: list[Any], depth: int) -> Any:
        value = value.copy()
        return value if self.is_flat(value) else [self.write(item, depth + 1) for item in value]

    def write_tuple(self, value: tuple[Any, ...], depth: int) -> Any:
        return {"!": self.write_list(list(value), depth + 1)}

    def write_set(self, value: Collection[Any], depth: int) -> Any:
        _check_hashes(value)
        return {f"!{type(value).__name__}": self.write_list(list(value), depth + 1)}

    def write_bytes(self, value: bytes | bytearray, depth: int) -> Any:
        self.take(2 * len(value))
        return {f"!{type(value).__name__}": value.hex()}

    def write_complex(self, value: complex, depth: int) -> Any:
        return {"!complex": [value.real, value.imag]}


_WRITERS: dict[type, Callable[[_Writer, Any, int], Any]] = {
    dict: _Writer.write_dict,
    list: _Writer.write_list,
    tuple: _Writer.write_tuple,
    set: _Writer.write_set,
    frozenset: _Writer.write_set,
    bytes: _Writer.write_bytes,
    bytearray: _Writer.write_bytes,
    complex: _Writer.write_complex,
}


def _is_marked(value: dict[str, Any]) -> bool:
    """Say whether a dictionary would be read as something else."""
    return len(value) == 1 and next(iter(value))[:1] == "!"


def _check_hashes(keys: Collection[Any]) -> None:
    """Refuse keys that it would take long to make a set or a dictionary of."""
    if len(keys) > _SAME_HASH and max(Counter(map(hash, keys)).values()) > _SAME_HASH:
        raise NotPlainError(f"more than {_SAME_HASH} keys have the same hash")


def _unexpected(value: object) -> Any:
    raise NotPlainError(f"a value has changed while it was read: {type(value).__name__}")


# As clients are told of it: what a message of a script carries goes to them as it is.
_encode = make_encoder(None, _unexpected, encode_basestring_ascii, None, ": ", ", ", False, False, True)


def _json_of_flat(value: dict[Any, Any], largest: int) -> bytes:
    """Return a dictionary that needs no looking through, as most messages of scripts are; empty if it does.

    Of so few values the texts alone can be large.
    """
    value = value.copy()
    is_flat = len(value) <= _FEW and _ATOMS.issuperset(map(type, value.values())) and _TEXT.issuperset(map(type, value))
    if not is_flat or _is_marked(value):
        return b""
    characters = sum(map(len, value)) + sum([len(each) for each in value.values() if type(each) is str])
    return b"" if characters > largest else "".join(_encode(value, 0)).encode("ascii")


def _json_of(writer: _Writer, value: Any) -> bytes:
    return "".join(_encode(writer.write(value, 0), 0)).encode("ascii")


def dumps(value: Any, largest: int = 1 << 62) -> bytes:
    """Return `value` as bytes; what is not plain is replaced by what stands for it.

    :param largest: how many bytes it may be
    :raises TooLargeError: it is larger
    :raises NotPlainError: it nests too deeply, or cannot be read again once it is plain
    """
    writer = _Writer(largest)
    try:
        try:
            data = _json_of_flat(value, largest) if type(value) is dict else b""
            data = data or _json_of(writer, value)
        except NotPlainError:
            raise
        except ValueError:  # Python writes integers of thousands of digits in hexadecimal alone
            writer = _Writer(largest, hex_ints=True)
            data = _json_of(writer, value)
    except RecursionError:
        raise NotPlainError("the value nests too deeply") from None
    if len(data) > largest:
        raise TooLargeError(f"the value takes {len(data)} bytes; at most {largest} are allowed")
    if writer.replaced:
        # A dataclass in a set becomes a dictionary in a set, for instance: let the sender know, not the readers.
        loads(data)
    return data


# -- reading


def _read_dict(pairs: Any) -> Any:
    _check_hashes([key for key, _ in pairs])
    return dict(pairs)


def _read_set(items: Any) -> Any:
    _check_hashes(_listed(items))
    return set(items)


def _listed(value: Any) -> Any:
    if type(value) is not list:
        raise NotPlainError("a mark stands before what does not fit it")
    return value


_READERS: dict[str, Callable[[Any], Any]] = {
    "!": lambda items: tuple(_listed(items)),
    "!dict": lambda pairs: _read_dict(_listed(pairs)),
    "!set": _read_set,
    "!frozenset": lambda items: frozenset(_read_set(items)),
    "!bytes": bytes.fromhex,
    "!bytearray": bytearray.fromhex,
    "!complex": lambda parts: complex(*_listed(parts)),
    "!int": lambda text: int(text, 16),
}


def _read_mark(value: dict[str, Any]) -> Any:
    if not _is_marked(value):
        return value
    ((mark, what),) = value.items()
    return _READERS[mark](what)


class _Reading:
    """How JSON is read: as by json.JSONDecoder."""

    strict = True
    object_pairs_hook = None
    parse_float, parse_int = float, int
    parse_constant = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}.__getitem__

    def __init__(self, object_hook: Callable[[dict[str, Any]], Any] | None) -> None:
        self.object_hook = object_hook


_make_scanner: Any = make_scanner
_scan, _scan_marks = _make_scanner(_Reading(None)), _make_scanner(_Reading(_read_mark))


def loads(data: bytes | bytearray | memoryview) -> Any:
    """Return the value in `data`.

    :raises NotPlainError: the bytes are no such message
    """
    try:
        text = str(data, "ascii")
        value, end = (_scan_marks if '"!' in text else _scan)(text, 0)
    except NotPlainError:
        raise
    except Exception as error:  # StopIteration, RecursionError, and what the constructors of plain types raise
        raise NotPlainError(f"not plain data: {error!r}") from error
    if end != len(text):
        raise NotPlainError("a message is longer than the value in it")
    return value
