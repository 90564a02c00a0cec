"""Ports that stay free until they are used, and while who has used them comes back.

Linux gives ports from 32768 on to whoever asks for any (ip_local_port_range): one of those that was free a moment ago
may be somebody else's when a server has started, or has been started again.
"""

from __future__ import annotations

import itertools
import os
import socket
import threading

_WORKERS = 4
_PORTS = range(21000, 32000)


def _own_ports() -> list[int]:
    """Return those of this worker of pytest-xdist, from another one on than other runs."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    own = _PORTS[number % _WORKERS :: _WORKERS]
    first = os.getpid() * 97 % len(own)
    return [*own[first:], *own[:first]]


_lock = threading.Lock()
_own = _own_ports()
_next = itertools.cycle(_own)


def free_port() -> int:
    """Return a port of 127.0.0.1 at which nobody listens, and which this process has not been given for long.

    :raises AssertionError: there is none
    """
    with _lock:
        for port in itertools.islice(_next, len(_own)):
            with socket.socket() as tried:
                try:
                    tried.bind(("127.0.0.1", port))
                except OSError:
                    continue
                return port
    raise AssertionError(f"none of {len(_own)} ports is free")


__all__ = ["free_port"]
