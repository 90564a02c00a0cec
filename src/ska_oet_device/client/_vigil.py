"""Whether a device server is still there: a TCP connection that carries nothing, and ends with it.

The kernel ends it at once, whatever has ended the server.  Tango's own heartbeat takes up to ten seconds to tell.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable

import tango

from ..giop import CLOSE_CONNECTION, TYPE_AT
from ._directory import entry_of

_CONNECT = 5.0  # seconds
_LEAST = 1.0  # seconds from one connection to the next


def endpoint_of(proxy: tango.DeviceProxy) -> tuple[str, int] | None:
    """Return host and port of a device's server, None if they cannot be had; raises DevFailed."""
    if not proxy.is_dbase_used():
        return proxy.get_dev_host(), int(proxy.get_dev_port())
    found = entry_of(proxy.get_device_db(), proxy.dev_name()).reference
    return None if found is None else found.endpoint


class Vigil:
    """Watches one server, in a thread of its own, until `close`.

    A server that ends connections which say nothing, as Tango's do after some minutes, says so first; then another one
    is made.

    :param gone: called once, in that thread, when the server's process has ended
    """

    def __init__(self, endpoint: tuple[str, int], gone: Callable[[], None]) -> None:
        self._endpoint = endpoint
        self._gone = gone
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="oet-client-vigil", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the connection, and the thread; may be called twice."""
        with self._lock:
            self._closing.set()
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)
        if self._thread is not threading.current_thread():
            self._thread.join(_CONNECT)

    def _run(self) -> None:
        while not self._closing.is_set():
            began = time.monotonic()
            try:
                with socket.create_connection(self._endpoint, _CONNECT) as connection:
                    if not self._adopt(connection):
                        return
                    says_goodbye = _read_to_its_end(connection)
                    self._socket = None
            except ConnectionRefusedError:
                says_goodbye = False
            except OSError:
                return  # a network that lets nobody through: Tango's heartbeat remains
            if self._closing.is_set():
                return
            if not says_goodbye:
                self._gone()
                return
            self._closing.wait(max(0.0, began + _LEAST - time.monotonic()))

    def _adopt(self, connection: socket.socket) -> bool:
        with self._lock:
            if not self._closing.is_set():
                connection.settimeout(None)
                self._socket = connection
            return not self._closing.is_set()


def _read_to_its_end(connection: socket.socket) -> bool:
    """Wait until the other side ends the connection; say whether it said so before."""
    message = b""
    try:
        while data := connection.recv(64):
            message = (message + data)[:64]
    except ConnectionResetError:
        return False
    return message.startswith(b"GIOP") and message[TYPE_AT : TYPE_AT + 1] == bytes([CLOSE_CONNECTION])
