"""Deadlines that do not hold time against a process in which nobody ran.  In main's loop.

`docker pause`, a frozen cgroup and a machine that is suspended stop main and its processes alike.  When they go on,
what was due meanwhile is due in the first turn of main's loop: before any of the others has had its turn.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ._guard import Clock

MOST_LATE = 0.5  # seconds; a deadline that comes later tells of a main that stood still itself
MOST_AGAIN = 10.0  # seconds that are given once more at most: a deadline of hours need not begin anew


class Allowance:
    """Calls back once when `seconds` are over; if that comes late, after the lesser of them and MOST_AGAIN more.

    That is so once: a main that is merely slow puts each deadline off once at most, by no more than that.
    """

    def __init__(self, loop: Clock, seconds: float, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._seconds = seconds
        self._callback = callback
        self._due = time.monotonic() + seconds
        self._timer = loop.call_later(seconds, self._over)

    def cancel(self) -> None:
        """Do not call back; may be called again, and afterwards."""
        self._timer.cancel()

    def _over(self) -> None:
        if time.monotonic() - self._due > MOST_LATE:
            self._timer = self._loop.call_later(min(self._seconds, MOST_AGAIN), self._callback)
        else:
            self._callback()
