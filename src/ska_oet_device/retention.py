"""What may be deleted for its age, though the clock may be wrong: a year ahead for seconds, or in 1970 after a boot.

Pure but for the two clocks, which are given.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable

_log = logging.getLogger(__name__)

FIRST_DATE = 1_767_225_600.0
"""Unix seconds, the beginning of 2026: what has an earlier time was written while the clock was wrong."""

_APART = 3600.0  # seconds between the two looks that have to agree
_SAMPLES_APART = 300.0  # seconds
_STEP, _DRIFT = 5.0, 0.01  # what the clocks may differ between two looks: seconds, and the part of what has gone by
_LARGEST_STEP = 60.0  # seconds, between the two that have to agree


class Retention:
    """Tells a time that has been reached for certain: of an hour ago, if the clock has gone evenly since.

    The wall clock is compared with the monotonic one at each look, so `look` is to be called often, by one thread.
    What is old by an hour less than the wall clock says goes an hour later; where a clock is set, another hour later.
    """

    def __init__(
        self, wall: Callable[[], float] | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Have seen nothing yet.

        :param wall: returns Unix seconds; None: the machine's clock
        :param monotonic: returns seconds that never go back
        """
        self._wall = wall or (lambda: time.time())
        self._monotonic = monotonic
        self._samples: deque[tuple[float, float]] = deque()
        self._last: tuple[float, float] | None = None

    def look(self) -> float | None:
        """Look at both clocks; return a time (Unix seconds) that has been reached for certain, if one is known."""
        now = self._monotonic(), self._wall()
        last, self._last = self._last, now
        if last is not None and not _agree(last, now, _STEP):
            self._doubt(last, now)
        if not self._samples or now[0] - self._samples[-1][0] >= _SAMPLES_APART:
            self._samples.append(now)
        while len(self._samples) > 1 and now[0] - self._samples[1][0] >= _APART:
            self._samples.popleft()
        return self._certain(now)

    def _certain(self, now: tuple[float, float]) -> float | None:
        oldest = self._samples[0]
        if now[0] - oldest[0] < _APART:
            return None
        if not _agree(oldest, now, _LARGEST_STEP):
            self._doubt(oldest, now)
            return None
        return min(oldest[1], now[1])

    def _doubt(self, earlier: tuple[float, float], now: tuple[float, float]) -> None:
        """Begin anew: one of the two was wrong, and nobody can say which."""
        step = (now[1] - earlier[1]) - (now[0] - earlier[0])
        _log.warning("the clock was set by %+.0f s: nothing is deleted for its age for an hour", step)
        self._samples.clear()
        self._samples.append(now)


def _agree(one: tuple[float, float], other: tuple[float, float], tolerance: float) -> bool:
    """Say whether both clocks have gone about as far from one look to the other."""
    gone = other[0] - one[0]
    return abs((other[1] - one[1]) - gone) <= tolerance + _DRIFT * gone
