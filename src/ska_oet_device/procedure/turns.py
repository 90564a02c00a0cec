"""Whose turn it is: the one rule, asked on both sides of the pipe.  Pure.

At most one procedure of a device drives.  The turn begins with the call of a function.  It ends when a function other
than `main` has returned, else with the process: exit functions and threads drive as well as `main` does.  An abort
script that waits for the end of another procedure goes before all others.  The device server asks when it is to accept
a start, and main when the start is due: main has the last word.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class Hold(enum.Enum):
    """What a procedure has to do with the turn of its device."""

    RUNNING = enum.auto()
    STARTING = enum.auto()
    """It was told to call a function, and has not begun yet."""
    ENDING = enum.auto()
    """It is to end, or does, and had the turn when that began; or its `main` has returned."""
    UNKNOWN = enum.auto()
    """A function of it has been called, and what is left of it cannot be killed."""
    LEAVING = enum.auto()
    """It is to end, or does; a function of it has been called before, and it was READY again when that began."""
    RESERVED = enum.auto()
    """It is an abort script that waits for its turn."""

    @classmethod
    def of(
        cls,
        *,
        drives: bool,
        is_starting: bool,
        is_called: bool,
        is_ending: bool,
        is_reserved: bool,
        is_unknown: bool = False,
    ) -> Hold | None:
        """Return what a procedure, whose process is there, has to do with the turn.

        :param drives: a function of it runs, or was `main` and has returned
        :param is_starting: it was told to call a function
        :param is_called: a function of it has been called at some time
        :param is_ending: it is to end, or does; true for a `main` that has returned
        :param is_reserved: it is an abort script that waits for its turn
        :param is_unknown: what is left of it cannot be killed
        """
        if is_unknown:
            return cls.UNKNOWN if is_called else None
        if is_ending and (is_called or is_starting):
            return cls.ENDING if drives or is_starting else cls.LEAVING
        if drives:
            return cls.RUNNING
        if is_starting:
            return cls.STARTING
        return cls.RESERVED if is_reserved else None


_ENDING = "procedure {uid} %s still ending (its process %s not gone yet)"
_IS = {
    Hold.RUNNING: "procedure {uid} is RUNNING",
    Hold.STARTING: "procedure {uid} is being started",
    Hold.ENDING: _ENDING % ("is", "has"),
    Hold.UNKNOWN: "procedure {uid} is UNKNOWN: {alive}, and this server cannot kill it; its owner or root must",
    Hold.LEAVING: _ENDING % ("is", "has"),
    Hold.RESERVED: "procedure {uid} is an abort script and runs next",
}
_WAS = {
    Hold.RUNNING: "procedure {uid} was RUNNING",
    Hold.STARTING: "procedure {uid} was being started",
    Hold.ENDING: _ENDING % ("was", "had"),
    Hold.UNKNOWN: _IS[Hold.UNKNOWN],
    Hold.LEAVING: _ENDING % ("was", "had"),
    Hold.RESERVED: "abort script {uid} runs next",
}


@dataclass(frozen=True)
class Claim:
    """What one procedure has to do with the turn.

    :param pids: the processes of one that is UNKNOWN
    """

    process_uid: int
    hold: Hold
    pids: tuple[int, ...] = ()

    def refusal(self, whose: str) -> str:
        """Return why a procedure is not started.

        :param whose: which one, as the beginning of a clause
        """
        return f"{self._told(_IS[self.hold])}; {whose} cannot be started before it ends"

    def drop(self, fn_name: str) -> str:
        """Return why a start that was accepted is dropped, as a lifecycle event tells it."""
        return f"the start of {fn_name} was dropped, since {self._told(_WAS[self.hold])}"

    def _told(self, text: str) -> str:
        numbers = ", ".join(map(str, self.pids))
        return text.format(uid=self.process_uid, alive=f"process {numbers} is alive" if numbers else "it is alive")


def in_the_way(
    process_uid: int, claims: Iterable[Claim], *, is_abort: bool = False, goes_on: bool = False
) -> Claim | None:
    """Return what keeps a procedure from being called; None: it is its turn.

    :param claims: of the procedures of its device
    :param is_abort: it is an abort script, and what it waited for has ended
    :param goes_on: a function of it has returned this moment: it has had the turn until now
    """
    found = sorted(claims, key=lambda claim: claim.process_uid)
    if any(claim.process_uid == process_uid and claim.hold is not Hold.RESERVED for claim in found):
        return None  # what is asked of it now comes behind what it does
    passed = ({Hold.RESERVED, Hold.LEAVING} if is_abort else set()) | ({Hold.LEAVING} if goes_on else set())
    others = [claim for claim in found if claim.process_uid != process_uid and claim.hold not in passed]
    return next((claim for kind in Hold for claim in others if claim.hold is kind), None)
