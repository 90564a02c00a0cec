"""A script's pypubsub message on the pipes: what the worker says, and who it is that main says has said it.

    worker → main                           when, topic, keyword arguments
    main → device server, other workers     the label, and behind it what the worker has said, unopened

Main knows by the pipe who speaks, and a worker cannot speak for another one.  The keyword arguments are JSON as `dumps`
writes it, and null where they are larger than a message may be.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ..mptools import NotPlainError, TooLargeError, dumps, loads

LARGEST_KWARGS = 1024 * 1024
"""Bytes of keyword arguments, as JSON, that a message may carry."""

MOST_CONTAINERS = 50_000
"""Lists and dictionaries that a message may carry; each takes some hundred times as long to read as a byte of text."""

_SAID = struct.Struct("!dH")  # Unix time, and the length of the topic
_LABEL = struct.Struct("!qH")  # id of the procedure, and the length of its device's name
_LONGEST_TOPIC = 4096  # bytes
_LATEST = 2.0**33  # Unix time, some centuries from now: what a clock may say
_LONGEST_SHOWN = 1000  # characters, in a log
_NOTHING = b"null"

LARGEST_SAID = _SAID.size + _LONGEST_TOPIC + LARGEST_KWARGS
"""Bytes of what a worker may say at once."""


class ScriptMessage(NamedTuple):
    """One message of a script; `kwargs` is JSON, which nobody has looked into."""

    device: str
    process_uid: int
    time: float
    topic: str
    kwargs: bytes

    @property
    def data(self) -> Data:
        return Data(self.kwargs)


class Data(Mapping[str, Any]):
    """The keyword arguments of a message, which are read when somebody looks at them.

    Empty where they were too large to be sent.

    :raises NotPlainError: when they are looked at, and are none
    """

    def __init__(self, kwargs: bytes) -> None:
        self._kwargs = kwargs
        self._read: dict[str, Any] | None = None

    def _opened(self) -> dict[str, Any]:
        if self._read is None:
            read = kwargs_in(self._kwargs)
            self._read = {} if read is None else read
        return self._read

    def __getitem__(self, key: str) -> Any:
        return self._opened()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._opened())

    def __len__(self) -> int:
        return len(self._opened())

    def __repr__(self) -> str:
        return self._kwargs[:_LONGEST_SHOWN].decode(errors="replace")


def kwargs_in(kwargs: bytes) -> dict[str, Any] | None:
    """Return the keyword arguments in JSON; None where they were too large to be sent.

    :raises NotPlainError: they are none
    """
    if not _is_light(kwargs):
        return None
    read = loads(kwargs)
    if read is not None and not isinstance(read, dict):
        raise NotPlainError("a script's message carries no keyword arguments")
    return read


def _is_light(kwargs: bytes) -> bool:
    """Say whether reading keeps nobody waiting: all other threads of a process stand still meanwhile.

    Brackets in a text count, too: to tell them apart would take longer than what is saved.
    """
    if len(kwargs) <= MOST_CONTAINERS:
        return True
    return len(kwargs) <= LARGEST_KWARGS and kwargs.count(b"[") + kwargs.count(b"{") <= MOST_CONTAINERS


def label_of(device: str, process_uid: int) -> bytes:
    """Return what main puts before what a worker says; `process_uid` 0: it is an operator's."""
    name = device.encode()
    return _LABEL.pack(process_uid, len(name)) + name


def said(topic: str, data: dict[str, Any], time: float) -> bytes:
    """Return what a worker says of a message.

    :raises NotPlainError: the data cannot be made plain, or the topic's name is too long
    """
    name = topic.encode(errors="replace")
    if len(name) > _LONGEST_TOPIC:
        raise NotPlainError(f"the topic's name takes {len(name)} bytes; at most {_LONGEST_TOPIC} are allowed")
    try:
        kwargs = dumps(data, LARGEST_KWARGS)
    except TooLargeError:
        kwargs = _NOTHING
    if not _is_light(kwargs):
        kwargs = _NOTHING
    return _SAID.pack(time, len(name)) + name + kwargs


def is_unheard(payload: bytes) -> bool:
    """Say whether the keyword arguments of what is `said` were left out."""
    return payload.endswith(_NOTHING)


def without_data(payload: bytes) -> bytes:
    """Return what is `said`, without the keyword arguments."""
    _, end = check_said(payload)
    return payload[:end] + _NOTHING


def check_said(payload: bytes, begin: int = 0) -> tuple[float, int]:
    """Look at what a worker says, but for the keyword arguments; returns the time, and where these begin.

    :param begin: where in the payload that begins
    :raises NotPlainError: it has another form
    """
    try:
        time, length = _SAID.unpack_from(payload, begin)
    except struct.error:
        raise NotPlainError(f"a script's message of {len(payload) - begin} bytes") from None
    end: int = begin + _SAID.size + length
    if length > _LONGEST_TOPIC or end >= len(payload):
        raise NotPlainError("a script's message has no topic or carries nothing")
    if not 0.0 <= time < _LATEST:  # nor is it NaN
        raise NotPlainError(f"a script's message is of {time!r}")
    return time, end


def read_labelled(payload: bytes) -> ScriptMessage:
    """Return the message that main passes on.

    :raises NotPlainError: it is none
    """
    try:
        uid, length = _LABEL.unpack_from(payload)
        begin = _LABEL.size + length
        device = str(payload[_LABEL.size : begin], "utf-8")
    except (struct.error, UnicodeDecodeError) as error:
        raise NotPlainError(f"not a script's message: {error!r}") from error
    time, end = check_said(payload, begin)
    topic = str(payload[begin + _SAID.size : end], "utf-8", "replace")
    return ScriptMessage(device, uid, time, topic, payload[end:])
