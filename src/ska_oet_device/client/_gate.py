"""The end of an interpreter finds no thread in a call of Tango: one that came back then would abort the process.

All threads but the main one are daemons by then.  Those that are in a call are waited for, and those that begin one
stay where they are.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

_changed = threading.Condition()
_under_way = 0
_is_shut = False


@contextlib.contextmanager
def call() -> Iterator[None]:
    """Surround a call."""
    global _under_way
    with _changed:
        while _is_shut:
            _changed.wait()
        _under_way += 1
    try:
        yield
    finally:
        with _changed:
            _under_way -= 1
            _changed.notify_all()


def shut(timeout: float) -> None:
    """Let no call begin any more, and wait for those that are under way, `timeout` seconds at most."""
    global _is_shut
    deadline = time.monotonic() + timeout
    with _changed:
        _is_shut = True
        while _under_way and (left := deadline - time.monotonic()) > 0:
            _changed.wait(left)
