"""CORBA's protocol, as far as it takes to have an object of a Tango server do something: a socket, and a time limit.

Tango's own client keeps a thread for up to nine seconds where a server hangs, whatever it is told, takes no object
reference, makes an object request broker that a server must not have yet, and takes 0.15 s of processor to be imported.

GIOP 1.0.  Source: CORBA 3.3, part 2: 7.6.2 (IOR), 9.3 (CDR), 9.3.3 (encapsulation), 9.3.5 (type codes), 9.4.1 (header),
9.4.2 (Request), 9.4.3 (Reply), 9.7.2 (IIOP profiles).
"""

from __future__ import annotations

import socket
import struct
import time
from typing import NamedTuple

CLOSE_CONNECTION = 5  # a type of messages
TYPE_AT = 7  # where it stands in a message
DATABASE_KEY = b"database"
"""The object key of every Tango database (Database::default_obj_key of cppTango's)."""
NOT_THERE = "OBJECT_NOT_EXIST"
"""The name of a RemoteError: a server that does not have the object; a DatabaseDS that waits for its MariaDB, too."""

_CONNECTING = 3.0  # seconds for somebody to be there
_ANSWERING = 10.0  # seconds for an answer: a busy server is none that hangs
_HIGHEST_PORT = 65535
_IIOP = 0  # the tag of a profile with host and port
_REQUEST, _REPLY, _LITTLE_ENDIAN = 0, 1, 1
_VOID, _STRING = 1, 18  # kinds of a type code
_DONE, _USER_EXCEPTION = 0, 1
_NEW_LINE = "\n"
_HEADER = 12  # bytes of a message before its body
_LONGEST = 1 << 20  # bytes of an answer
_SHOWN = 300  # characters of what the other one says
_NO_SERVER = "what answers is no Tango server"
_STATES = ("ON", "OFF", "CLOSE", "OPEN", "INSERT", "EXTRACT", "MOVING", "STANDBY", "FAULT", "INIT", "RUNNING", "ALARM")


class RemoteError(ValueError):
    """What is there is no Tango server, does not have the object, or says why it cannot do what it is asked."""

    def __init__(self, text: str, name: str = "", *, is_said: bool = False) -> None:
        """Keep what was answered.

        :param name: of the exception; of a DevFailed its reason
        :param is_said: whether it is the object that says so, by a DevFailed
        """
        super().__init__(text)
        self.name = name
        self.is_said = is_said


class NoSuchObject(Exception):  # noqa: N818 - says it
    """A server answers, which does not have the object: it is starting, or the reference is of another process."""


class Reference(NamedTuple):
    """Where an object is: host and port of its server, and what the server calls it."""

    host: str
    port: int
    key: bytes

    @property
    def endpoint(self) -> tuple[str, int]:
        """Host and port."""
        return self.host, self.port

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"{self.host}:{self.port}"


def databases_of(tango_host: str) -> list[Reference]:
    """Return the Tango databases that a value of TANGO_HOST names, in its order.

    :param tango_host: ``host:port``, or several of these with commas between them
    :raises ValueError: it is no such thing
    """
    found = []
    for address in tango_host.split(","):
        host, _, port = address.strip().rpartition(":")
        if not host or not (port.isascii() and port.isdecimal()) or int(port) > _HIGHEST_PORT:
            raise ValueError(f"TANGO_HOST is {tango_host}, and not host:port")
        found.append(Reference(host, int(port), DATABASE_KEY))
    return found


def reference_of(ior: str) -> Reference | None:
    """Return what an object reference in its text form says in its first IIOP profile; None if it is none."""
    try:
        whole = Reader.of_encapsulated(bytes.fromhex(ior.strip().removeprefix("IOR:")))
        whole.octets()  # the type
        for _ in range(whole.number()):
            tag, data = whole.number(), whole.octets()
            if tag == _IIOP:
                profile = Reader.of_encapsulated(data)
                profile.position += 2  # the version
                host = profile.octets().rstrip(b"\0").decode("ascii")
                return Reference(host, profile.number("H"), profile.octets())
    except (ValueError, struct.error):
        pass
    return None


def request(reference: Reference, operation: str, arguments: bytes = b"", *, within: float | None = None) -> Reader:
    """Have an object do something; returns what it answers.  By a connection of its own, in the thread that calls.

    :param arguments: as they stand in a message
    :param within: seconds for all of it, but for what the name of the host takes to be looked up; without it 3 s for
        the connection, and 10 s for the answer
    :raises TimeoutError: somebody takes the connection, and gives no answer
    :raises OSError: there is no connection
    :raises RemoteError: what is there does not do it
    """
    began = time.monotonic()
    try:
        connection = socket.create_connection(reference.endpoint, _CONNECTING if within is None else within)
    except TimeoutError:
        raise ConnectionError("no connection within the time") from None
    with connection:
        deadline = time.monotonic() + _ANSWERING if within is None else began + within
        connection.sendall(_message(reference.key, operation, arguments))
        reply = _answer(connection, deadline)
    _judge(reply)
    return reply


def command(reference: Reference, name: str, argument: str | None = None) -> Reader:
    """Have a Tango device execute a command without an argument, or with a text; raises as `request` does."""
    given = struct.pack("<I", _VOID) if argument is None else struct.pack("<II", _STRING, 0) + _last_text(argument)
    return request(reference, "command_inout", _text(name) + given)


def ask_state(reference: Reference, timeout: float) -> str:
    """Return the State of a device, by its name: what goes through the device's lock and its Python.

    :param timeout: seconds, as `within` of `request`
    :raises TimeoutError: somebody takes the connection, and gives no answer
    :raises NoSuchObject: the server does not have it
    :raises OSError: there is no connection, or what answers is no such server
    """
    try:
        number = request(reference, "_get_state", within=timeout).number()
    except struct.error:
        raise ConnectionError(_NO_SERVER) from None
    except RemoteError as error:
        if error.name == NOT_THERE:
            raise NoSuchObject("its server does not have it") from None
        if error.is_said:  # the device has said something, if only that it has no State now
            return "UNKNOWN"
        raise ConnectionError(str(error)) from None
    return _STATES[number] if number < len(_STATES) else "UNKNOWN"


def _message(key: bytes, operation: str, arguments: bytes) -> bytes:
    body = struct.pack("<IIB3x", 0, 1, True) + _sized(key) + _text(operation) + _sized(b"") + arguments
    return b"GIOP" + bytes([1, 0, _LITTLE_ENDIAN, _REQUEST]) + struct.pack("<I", len(body)) + body


def _sized(data: bytes) -> bytes:
    """Return a sequence of bytes as it stands in a message, with what fills the last four."""
    return struct.pack("<I", len(data)) + data + bytes(-len(data) % 4)


def _text(text: str) -> bytes:
    return _sized(text.encode("latin-1") + b"\0")


def _last_text(text: str) -> bytes:
    """Return a text with which a message ends: omniORB takes what fills the last four for rubbish."""
    data = text.encode("latin-1") + b"\0"
    return struct.pack("<I", len(data)) + data


def _answer(connection: socket.socket, deadline: float) -> Reader:
    """Return the reply, from its body on."""
    head = _receive(connection, _HEADER, deadline)
    order = "<" if head[6] & 1 else ">"
    (size,) = struct.unpack_from(f"{order}I", head, 8)
    if not head.startswith(b"GIOP") or head[TYPE_AT] != _REPLY or size > _LONGEST:
        raise RemoteError(_NO_SERVER)
    return Reader(head + _receive(connection, size, deadline), order, _HEADER)


def _receive(connection: socket.socket, size: int, deadline: float) -> bytes:
    data = b""
    while len(data) < size:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("no answer within the time")
        connection.settimeout(left)
        more = connection.recv(size - len(data))
        if not more:
            raise RemoteError("what listens there says nothing, and hangs up")
        data += more
    return data


def _judge(reply: Reader) -> None:
    """Read a reply up to what it answers.

    :raises RemoteError: that is an exception
    """
    try:
        for _ in range(reply.number()):  # what services have added
            reply.number()
            reply.octets()
        reply.number()  # the request's own
        status = reply.number()
        error = None if status == _DONE else _exception(reply, status)
    except struct.error:
        raise RemoteError(_NO_SERVER) from None
    if error is not None:
        raise error


def _exception(reply: Reader, status: int) -> RemoteError:
    """Return what is wrong: a DevFailed's first description, else the name of an exception."""
    name = reply.text()
    if status != _USER_EXCEPTION or not reply.number():
        name = name.rpartition("/")[2].partition(":")[0]
        return RemoteError(f"it fails with {name}", name, is_said=status == _USER_EXCEPTION)
    reason = reply.text()
    reply.number()  # how bad it is
    said = reply.text().strip().partition(_NEW_LINE)[0] or reason
    return RemoteError(f"it fails: {said}"[:_SHOWN], reason, is_said=True)


class Reader:
    """Reads what CORBA has marshalled.  Numbers are aligned; their order is the message's, or that of what is inside.

    Each method raises struct.error where there is no more to read.
    """

    def __init__(self, data: bytes, order: str, position: int) -> None:
        self._data, self._order, self.position = data, order, position

    @classmethod
    def of_encapsulated(cls, data: bytes) -> Reader:
        """Return one of what begins with its own byte order."""
        return cls(data, "<" if data[:1] == b"\1" else ">", 1)

    def number(self, kind: str = "I") -> int:
        size = struct.calcsize(kind)
        self.position += -self.position % size
        (value,) = struct.unpack_from(self._order + kind, self._data, self.position)
        self.position += size
        return int(value)

    def octets(self) -> bytes:
        length = self.number()
        self.position += length
        return self._data[self.position - length : self.position]

    def text(self) -> str:
        return self.octets().rstrip(b"\0").decode("latin-1")

    def numbers(self) -> list[int]:
        return [self.number() for _ in range(self.number())]

    def texts(self) -> list[str]:
        return [self.text() for _ in range(self.number())]

    def pass_type(self) -> None:
        """Go over the type code of a sequence, a structure, or a name for one of these."""
        self.number()
        self.octets()
