"""When the lists of procedures are pushed: when nothing else waits, and not too often.

They grow with the procedures, and say nothing that lifecycle events do not say sooner.  So only their newest values
are pushed, at a rate that leaves the thread of events to others, and makes what waits for a subscriber that does not
read grow slowly.
"""

from __future__ import annotations

import time as clock
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

_SHARE = 0.1  # of the time of the thread of events
_BYTES_A_SECOND = 1024 * 1024
_LONGEST_PAUSE = 1.0  # seconds
_LONGEST_WAIT = 0.25  # seconds for a quiet moment; after that they are pushed between two events


class Named(Protocol):
    """Attributes that are pushed together."""

    @property
    def name(self) -> str: ...


G = TypeVar("G", bound=Named)


class QuietMoments:
    """Says when to push which of several groups of attributes.  Used by the thread of events.

    :ivar time: of the newest change, in Unix seconds
    """

    def __init__(self, now: Callable[[], float] = clock.monotonic) -> None:
        self.time = 0.0
        self._now = now
        self._asked: dict[str, float] = {}
        self._not_before: dict[str, float] = {}

    def ask(self, groups: Sequence[Named], time: float) -> None:
        """Have groups pushed, since something changed at `time` (Unix seconds)."""
        self.time = time
        now = self._now()
        for group in groups:
            self._asked.setdefault(group.name, now)

    def seconds_until_due(self) -> float | None:
        """Return in how many seconds to look again; None: not before something is asked for."""
        if not self._asked:
            return None
        return max(0.0, min(self._not_before.get(name, 0.0) for name in self._asked) - self._now())

    def is_due(self, group: Named, *, is_quiet: bool) -> bool:
        """Say whether to push a group now; `is_quiet` if nothing else waits."""
        asked, now = self._asked.get(group.name), self._now()
        if asked is None:
            return False
        due = self._not_before.get(group.name, 0.0)
        return now >= due and (is_quiet or now >= max(asked, due) + _LONGEST_WAIT)

    def is_asked(self, group: Named) -> bool:
        """Say whether a group is to be pushed at all."""
        return group.name in self._asked

    def pushed(self, group: Named, began: float, size: int) -> None:
        """Note that a group has been pushed, beginning at `began` (monotonic), with so many bytes."""
        now = self._now()
        pause = max((now - began) * (1 - _SHARE) / _SHARE, size / _BYTES_A_SECOND)
        self._not_before[group.name] = now + min(pause, _LONGEST_PAUSE)
        self._asked.pop(group.name, None)
