"""What main tells the systemd that has started it (sd_notify(3)): that the device serves, and what it waits for.

Main loads this only where it was given a NOTIFY_SOCKET.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable

_AGAIN_AFTER = 0.1  # seconds; the manager reads slowly while a machine boots


class ServiceManager:
    """The manager's datagram socket.  Belongs to the thread of main's loop, which never waits for it."""

    def __init__(self, address: str, call_later: Callable[[float, Callable[[], None]], object]) -> None:
        """Open nothing yet.

        :param address: NOTIFY_SOCKET: a path, or `@` and a name without one
        :param call_later: calls a function so many seconds from now
        """
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._call_later = call_later
        self._unsent: deque[bytes] = deque()

    def tell(self, *assignments: str) -> None:
        """Send `NAME=value` assignments, in order, as soon as the manager takes them.

        Nothing is raised where nobody listens any more: the server does not depend on who has started it.
        """
        self._unsent.append("\n".join(assignments).encode())
        if len(self._unsent) == 1:
            self._send()

    def _send(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.setblocking(False)
            while self._unsent:
                try:
                    sock.sendto(self._unsent[0], self._address)
                except BlockingIOError:
                    self._call_later(_AGAIN_AFTER, self._send)
                    return
                except OSError:
                    self._unsent.clear()
                    return
                self._unsent.popleft()
