"""When values are pushed once more: for a client whose connection was still being made when they were pushed.

``subscribe_event`` returns before ZeroMQ has made its connection, and Tango has read the first value by then: what is
pushed in between reaches nobody, and nobody learns of it.  Of 80 plain PyTango servers on a busy machine five lost what
they pushed at once after a first subscription; a second later everything was heard.
"""

from __future__ import annotations

import time as clock
from collections.abc import Callable

_SOON, _LATER = 1.0, 5.0  # seconds behind a change


class Repeats:
    """Says when to push what stands once more: a second after a change, and when 5 s have passed without another.

    Used by the thread of events.
    """

    def __init__(self, now: Callable[[], float] = clock.monotonic) -> None:
        self._now = now
        self._soon: float | None = None
        self._later: float | None = None

    def ask(self) -> None:
        """Note that something has changed, and was pushed."""
        now = self._now()
        if self._soon is None:
            self._soon = now + _SOON
        self._later = now + _LATER

    def seconds_until_due(self) -> float | None:
        """Return in how many seconds to look again; None: not before something changes."""
        due = [when for when in (self._soon, self._later) if when is not None]
        return max(0.0, min(due) - self._now()) if due else None

    def take(self) -> bool:
        """Say whether it is time, which it is once."""
        now = self._now()
        is_soon = self._soon is not None and now >= self._soon
        is_later = self._later is not None and now >= self._later
        self._soon = None if is_soon else self._soon
        self._later = None if is_later else self._later
        return is_soon or is_later
