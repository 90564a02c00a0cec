"""Whether a Tango database answers, asked without Tango's client: that would make an object request broker.

What is asked for (DbInfo) has it look into its tables: a database whose MariaDB is away answers, and fails, or hangs.
One request of GIOP 1.0.  Source: CORBA 3.3, part 2: 9.3 (CDR), 9.4.1 (header), 9.4.2 (Request), 9.4.3 (Reply).
"""

from __future__ import annotations

import socket
import struct
import time

_CONNECTING = 3.0  # seconds for somebody to be there
_ANSWERING = 10.0  # seconds for an answer: a busy database is none that hangs
_KEY = b"database"  # the object key of every Tango database (Database::default_obj_key of cppTango's)
_REQUEST, _REPLY, _LITTLE_ENDIAN, _VOID = 0, 1, 1, 1
_NO_EXCEPTION, _USER_EXCEPTION = 0, 1
_NOT_THERE = "OBJECT_NOT_EXIST"  # a DatabaseDS that waits for its MariaDB says so
_NEW_LINE = "\n"
_HEADER = 12  # bytes
_LONGEST_ANSWER = 1 << 20
_SHOWN = 300  # characters of what the database says


def ask(host: str, port: int) -> None:
    """Have the database do something, within some seconds.

    :raises OSError: nobody is there, or nobody answers in time
    :raises ValueError: what is there is no Tango database, or it says why it cannot be used
    """
    with socket.create_connection((host, port), timeout=_CONNECTING) as connection:
        connection.sendall(_request())
        connection.settimeout(_ANSWERING)
        _judge(_answer(connection))


def _request() -> bytes:
    """Return the message for ``command_inout("DbInfo", <nothing>)``."""
    body = struct.pack("<IIBxxx", 0, 1, True) + _sized(_KEY) + _sized(b"command_inout\0") + _sized(b"")
    body += _sized(b"DbInfo\0") + struct.pack("<I", _VOID)
    return b"GIOP" + bytes([1, 0, _LITTLE_ENDIAN, _REQUEST]) + struct.pack("<I", len(body)) + body


def _sized(data: bytes) -> bytes:
    """Return a sequence of bytes as it stands in a message, with what fills the last four."""
    return struct.pack("<I", len(data)) + data + bytes(-len(data) % 4)


def _answer(connection: socket.socket) -> _Reader:
    deadline = time.monotonic() + _ANSWERING
    head = _receive(connection, _HEADER, deadline)
    if head[:4] != b"GIOP" or head[7] != _REPLY:
        raise ValueError("what listens there is no Tango database")
    order = "<" if head[6] & 1 else ">"
    (size,) = struct.unpack_from(f"{order}I", head, 8)
    return _Reader(head + _receive(connection, min(size, _LONGEST_ANSWER), deadline), order)


def _receive(connection: socket.socket, size: int, deadline: float) -> bytes:
    data = b""
    while len(data) < size:
        connection.settimeout(max(0.01, deadline - time.monotonic()))
        more = connection.recv(size - len(data))
        if not more:
            raise ValueError("what listens there says nothing, and hangs up")
        data += more
    return data


class _Reader:
    """Reads a message from its body on: alignment counts from the beginning of the header."""

    def __init__(self, data: bytes, order: str) -> None:
        self._data, self._order, self._place = data, order, _HEADER

    def number(self) -> int:
        self._place += -self._place % 4
        (value,) = struct.unpack_from(f"{self._order}I", self._data, self._place)
        self._place += 4
        return int(value)

    def bytes(self) -> bytes:
        size = self.number()
        self._place += size
        return self._data[self._place - size : self._place]

    def text(self) -> str:
        return self.bytes().rstrip(b"\0").decode("latin-1")


def _judge(reply: _Reader) -> None:
    try:
        for _ in range(reply.number()):  # service contexts
            reply.number()
            reply.bytes()
        reply.number()  # the request's own
        status = reply.number()
        said = "" if status == _NO_EXCEPTION else _exception(reply, status)
    except struct.error:
        raise ValueError("what listens there is no Tango database") from None
    if said:
        raise ValueError(said[:_SHOWN])


def _exception(reply: _Reader, status: int) -> str:
    """Return what the database says is wrong: a DevFailed's first description, else the name of an exception."""
    name = reply.text()
    if status != _USER_EXCEPTION or not reply.number():
        name = name.rpartition("/")[2].partition(":")[0]
        return f"the server there has no Tango database yet ({name})" if name == _NOT_THERE else f"it fails with {name}"
    reason = reply.text()
    reply.number()  # how bad it is
    return f"it fails: {reply.text().strip().partition(_NEW_LINE)[0] or reason}"
