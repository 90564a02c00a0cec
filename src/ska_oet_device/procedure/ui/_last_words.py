"""That a long running command has finished is told more than once: a client that has missed it would wait for ever.

Their clients unsubscribe at the first event that tells an end, so that none hears it twice.  One may be missed by a
client whose connection was still being made when it was pushed (see `_repeats`), and by one that still waits for its
next heartbeat behind a restart of the device server: mostly 10 s, but 40 s have been seen where it knows other
servers that are gone.
"""

from __future__ import annotations

import heapq
import itertools
import time as clock
from collections.abc import Callable, Iterable

from ..application import LongRunningCommand
from ._devstring import to_json

_AFTER = (1.0, 5.0)  # seconds behind the end
_AFTER_START = (3.0, 12.0, 25.0, 40.0, 60.0)  # seconds behind the start of this process, for what ended around it
_AROUND = 20.0  # seconds before it

Event = tuple[str, ...]


class LastWords:
    """Says when to push which last events of commands once more.  Used by the thread of events."""

    def __init__(self, now: Callable[[], float] = clock.monotonic) -> None:
        self._now = now
        self._began = now()
        self._waiting: list[tuple[float, int, Event]] = []
        self._numbers = itertools.count()  # of two that are due at the same time

    def note(self, event: Event) -> None:
        """Note the last event of a command, which has been pushed."""
        now = self._now()
        behind_start = (self._began + seconds for seconds in _AFTER_START[1:])
        for due in (*(now + seconds for seconds in _AFTER), *(due for due in behind_start if due > now)):
            heapq.heappush(self._waiting, (due, next(self._numbers), event))

    def repeat_earlier(self, finished: Iterable[LongRunningCommand]) -> None:
        """Have the ends of commands told that an earlier server may not have come to tell."""
        since = clock.time() - _AROUND
        for command in finished:
            if command.finished is not None and command.result is not None and command.finished >= since:
                data = {"status": int(command.status), "result": list(command.result)}
                for seconds in _AFTER_START:
                    due = self._began + seconds
                    heapq.heappush(self._waiting, (due, next(self._numbers), (command.uid, to_json(data))))

    def seconds_until_due(self) -> float | None:
        """Return in how many seconds to look again; None: not before something ends."""
        return max(0.0, self._waiting[0][0] - self._now()) if self._waiting else None

    def due(self) -> list[Event]:
        """Return what is due now, and forget that it was."""
        events = []
        while self._waiting and self._waiting[0][0] <= self._now():
            events.append(heapq.heappop(self._waiting)[2])
        return events
