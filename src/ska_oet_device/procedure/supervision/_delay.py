"""What the end of a process waits for: asked while it goes on, told in Status, and in the reason if it is killed."""

from __future__ import annotations

from collections.abc import Callable

from ...mptools import NotPlainError, Timer
from ._guard import Clock

_LONGEST_PAUSE = 30.0  # seconds between two questions; without a deadline each pause is twice the one before
_SHORTEST_PAUSE = 0.05
_FIRST_PAUSE = 1.0  # seconds, in which nearly all have ended


class DelayWatch:
    """Asks a process that should end where it is, again and again until it has ended.  In main's loop.

    :param ask: asks the process
    :param tell: is told each answer
    """

    def __init__(self, loop: Clock, ask: Callable[[], None], tell: Callable[[str], None]) -> None:
        self._loop = loop
        self._ask = ask
        self._tell = tell
        self._timer: Timer | None = None
        self._pause, self._factor = _FIRST_PAUSE, 1.0
        self._owed = 0
        self._where = ""

    def begin(self, patience: float | None = None) -> None:
        """Ask from now on.

        :param patience: seconds within which the process is to have ended; some answers are to come before
        """
        self.end()
        first = _FIRST_PAUSE if patience is None else min(_FIRST_PAUSE, max(_SHORTEST_PAUSE, patience / 3))
        self._pause = first
        self._factor = 2.0 if patience is None else 1.0
        self._where = ""
        self._timer = self._loop.call_later(first, self._question)

    def end(self) -> None:
        """Ask no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def note(self, where: str) -> None:
        """Take notice of an answer.

        :raises NotPlainError: nobody has asked
        """
        if not self._owed:
            raise NotPlainError("it answers what nobody has asked")
        self._owed -= 1
        self._where = where
        self._tell(where)

    @property
    def where(self) -> str:
        """Where the process was last, as the end of a sentence; "" if nobody has asked yet."""
        if self._owed > 1 or (self._owed and not self._where):
            return "without an answer: it is stopped, or code in C holds the lock of Python, or a listener hangs"
        return self._where

    def _question(self) -> None:
        self._pause = min(self._pause * self._factor, _LONGEST_PAUSE)
        self._timer = self._loop.call_later(self._pause, self._question)
        self._owed += 1
        self._ask()
        if self._owed > 1:
            self._tell(self.where)
