"""A device is asked for its State over a socket: whatever is at the other end, it ends in time."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from ska_oet_device.giop import Reference, ask_state, databases_of, reference_of

IOR = (
    "IOR:010000001700000049444c3a54616e676f2f4465766963655f363a312e30000001000000000000009c000000010102000a000000"
    "3132372e302e302e3100919f0e000000fe51890e6b0000622e000000000000000300000000000000080000000100000000545441010000"
    "001c00000001000000010001000100000001000105090101000100000009010100025454413400000001000000030000"
    "00766d0000240000002f746d702f6f6d6e692d726f6f742f3030303032353133342d3137393631313437363900"
)


@contextlib.contextmanager
def listener(says: bytes | None, *, ends: bool = True) -> Iterator[Reference]:
    """Take one connection, and say something to whoever asks."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                if says is not None:
                    connection.sendall(says)
                if not ends:
                    over.wait(30)

        over = threading.Event()
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield Reference("127.0.0.1", server.getsockname()[1], b"key")
        finally:
            over.set()
            thread.join(30)


def _reply(order: str, *numbers: int) -> bytes:
    body = b"".join(each.to_bytes(4, "little" if order == "<" else "big") for each in numbers)
    size = len(body).to_bytes(4, "little" if order == "<" else "big")
    return b"GIOP\1\0" + bytes([order == "<", 1]) + size + body


def test_a_reference_says_where_an_object_is():
    found = reference_of(IOR)
    assert found is not None
    assert found.endpoint == ("127.0.0.1", 40849)
    assert found.key.startswith(b"\xfe\x51\x89\x0e\x6b")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("host", ["127.0.0.1", "oet.observatory", "a-host-of-even-length"])
def test_a_reference_is_read_in_either_byte_order_and_with_any_host(order, host):
    def text(value: str) -> bytes:
        data = value.encode() + b"\0"
        return struct.pack(f"{order}I", len(data)) + data

    def padded(data: bytes, size: int) -> bytes:
        return data + bytes(-len(data) % size)

    flag = b"\1" if order == "<" else b"\0"
    body = padded(padded(flag + b"\1\2", 4) + text(host), 2) + struct.pack(f"{order}H", 45677)
    body = padded(body, 4) + struct.pack(f"{order}I", 5) + b"a key"
    head = padded(padded(flag, 4) + text("IDL:Tango/Device_6:1.0"), 4)
    reference = head + struct.pack(f"{order}III", 1, 0, len(body)) + body
    assert reference_of("IOR:" + reference.hex()) == Reference(host, 45677, b"a key")


@pytest.mark.parametrize("text", ["", "IOR:", "IOR:xyz", "IOR:01", IOR[:60], IOR[:120], "nada"])
def test_what_is_no_reference_is_none(text):
    assert reference_of(text) is None


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_state_is_told_by_its_name_in_either_byte_order(order):
    with listener(_reply(order, 0, 1, 0, 10)) as reference:
        assert ask_state(reference, 30) == "RUNNING"


def test_a_server_that_says_nothing_is_given_up_in_time():
    with listener(None, ends=False) as reference:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            ask_state(reference, 0.3)
        assert time.monotonic() - began >= 0.3


@pytest.mark.parametrize(
    "says", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"GIOP\1\0\1\5\0\0\0\0", _reply("<", 2**31), _reply("<")]
)
def test_what_is_no_answer_of_a_tango_server_is_an_error(says):
    with listener(says) as reference, pytest.raises(OSError, match=r"no Tango server|hangs up|reset"):
        ask_state(reference, 30)


@pytest.mark.parametrize(
    ("tango_host", "endpoints"),
    [
        ("a:10000", [("a", 10000)]),
        (" a.b:1 , 127.0.0.1:65535", [("a.b", 1), ("127.0.0.1", 65535)]),
        ("::1:10000", [("::1", 10000)]),
    ],
)
def test_databases_are_those_that_tango_host_names_in_its_order(tango_host, endpoints):
    found = databases_of(tango_host)
    assert [each.endpoint for each in found] == endpoints
    assert {each.key for each in found} == {b"database"}


@pytest.mark.parametrize("tango_host", ["", "a", "a:", ":1", "a:x", "a:65536", "a:-1", "a:²", "a:1,", "a:1,b"])
def test_what_names_no_database_is_refused_as_a_whole(tango_host):
    with pytest.raises(ValueError, match=r"^TANGO_HOST is .*, and not host:port$"):
        databases_of(tango_host)
