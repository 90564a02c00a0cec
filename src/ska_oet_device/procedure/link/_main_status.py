"""What main says of itself, and whether it answers."""

from __future__ import annotations

import time
from typing import Any

from ...mptools import stat_of
from ..messages import Supply, Welcome


class MainStatus:
    """How main does, as far as it has said so.  Written by the thread of the link, read by any."""

    def __init__(self) -> None:
        self.pid: int | None = None
        self.boot = ""
        """Tells this main process from any other."""
        self.living: list[dict[str, Any]] = []
        """What lived when this device server was greeted: see Welcome."""
        self.restarted = False
        """Whether an earlier device server of this main has served."""
        self.problems: list[str] = []
        """What is wrong with the making of workers, and with the recording of what they print, a sentence each."""
        self.supplying = True
        """Whether workers can be made."""
        self.template_pid: int | None = None
        self.lost: str | None = None
        """Why there is no main any more; None while there is."""
        self._asked = 0.0
        self._answered = 0.0
        self._heard = time.monotonic()

    def welcome(self, message: Welcome) -> None:
        """Take up main's first words."""
        self.pid, self.boot, self.living = message.main_pid, message.boot, message.living
        self.restarted = message.restarted
        self.note_supply(message)

    def note_supply(self, message: Welcome | Supply) -> None:
        """Take up how the making of workers goes."""
        self.problems, self.supplying, self.template_pid = message.problems, message.supplying, message.template_pid

    def note_question(self) -> bool:
        """Note that main is asked for a sign of life; False if it still owes one, and need not be asked."""
        if self._asked > self._answered:
            return False
        self._asked = time.monotonic()
        return True

    def note_answer(self) -> None:
        """Note the sign of life."""
        self._answered = time.monotonic()

    @property
    def answer_overdue(self) -> float:
        """Seconds for which main has not answered; 0 if it owes nothing."""
        return 0.0 if self._asked <= self._answered else time.monotonic() - self._asked

    def note_sign_of_life(self) -> None:
        """Note that main has said something, whatever that was."""
        self._heard = time.monotonic()

    @property
    def silence(self) -> float:
        """Seconds for which main has said nothing."""
        return time.monotonic() - self._heard

    @property
    def template_is_stopped(self) -> bool:
        """Whether the process that makes the workers has been stopped by a signal."""
        stat = stat_of(self.template_pid) if self.template_pid else None
        return stat is not None and stat.state in "Tt"
