"""Whether another process answers, looked at now and then.  In main's loop."""

from __future__ import annotations

from collections.abc import Callable

from ...mptools import EventLoop, Timer

WATCH_PERIOD = 2.0  # seconds between two questions


class Watch:
    """Asks now and then, and says so when no answer has come for long.

    What counts is how often this loop has looked since it asked: a main that was stopped itself, or a machine that was
    suspended, has looked once at most, however long that was.

    :param ask: asks for an answer
    :param on_hang: called once when none has come, with the seconds of our own running time that this took
    """

    def __init__(self, loop: EventLoop, ask: Callable[[], None], on_hang: Callable[[float], None]) -> None:
        self._loop = loop
        self._ask = ask
        self._on_hang = on_hang
        self._timer: Timer | None = None
        self._owes = False
        self._looked = 0
        self.patience = 0.0

    @property
    def is_on(self) -> bool:
        """Whether it asks: it has begun, and has neither been ended nor found that no answer comes."""
        return self._timer is not None

    def begin(self, patience: float) -> None:
        """Ask now, and from now on.

        :param patience: seconds of our own running time from a question to its answer; `patience` may be set anew
        """
        self.end()
        self.patience = patience
        self._question()

    def end(self) -> None:
        """Ask no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._owes = False

    def note_answer(self) -> None:
        """Take notice of an answer."""
        self._owes = False

    def _question(self) -> None:
        self._owes, self._looked = True, 0
        self._look_later()
        self._ask()

    def _look_later(self) -> None:
        self._timer = self._loop.call_later(WATCH_PERIOD, self._look)

    def _look(self) -> None:
        if not self._owes:
            self._question()
            return
        self._looked += 1
        if self._looked * WATCH_PERIOD >= self.patience:
            self.end()
            self._on_hang(self._looked * WATCH_PERIOD)
        else:
            self._look_later()
