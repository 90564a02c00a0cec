"""Which of main's announcements are recorded, and what main is told of that."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ..messages import Acknowledge

_TOLD_TOGETHER = 64


class Receipts:
    """Tells main up to which announcement everything is recorded: when there are many, or when asked to.

    Main would wake for each one, and only needs to know what it may forget.  Any thread.
    """

    def __init__(self, send: Callable[[Any], None]) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._apart: set[int] = set()  # recorded, and not in a row with those before
        self._newest: int | None = None
        self._told = 0

    def begin(self, number: int) -> None:
        """Say that an announcement has come: what is before the first one is known to be recorded."""
        with self._lock:
            if self._newest is None:
                self._newest = self._told = number - 1

    def note(self, number: int) -> None:
        """Note that an announcement is recorded."""
        with self._lock:
            self._apart.add(number)
            if self._newest is None:
                return
            while self._newest + 1 in self._apart:
                self._newest += 1
                self._apart.remove(self._newest)
            many = self._newest - self._told >= _TOLD_TOGETHER
        if many:
            self.tell()

    def tell(self) -> None:
        """Tell main, if there is something that it does not know."""
        with self._lock:
            newest = self._newest or 0
            if newest <= self._told:
                return
            self._told = newest
        self._send(Acknowledge(newest))
