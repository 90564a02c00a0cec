"""Whose turn it is: the one rule, asked on both sides of the pipe.  Pure.

At most one procedure of a device runs.  An abort script that waits for the end of another procedure goes before all
others.  The device server asks when it is to accept a start, and main when the start is due: main has the last word.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Obstacle:
    """The procedure that another one has to let pass; `is_reserved`: it does not run, but is an abort script."""

    process_uid: int
    is_reserved: bool

    def refusal(self, process_uid: int) -> str:
        """Return why procedure `process_uid` is not started."""
        doing = "is an abort script and runs next" if self.is_reserved else "is RUNNING"
        return f"procedure {self.process_uid} {doing}; procedure {process_uid} cannot be started before it ends"

    def drop(self, fn_name: str) -> str:
        """Return why a start that was accepted is dropped, as a lifecycle event tells it."""
        what = "abort script {} runs next" if self.is_reserved else "procedure {} was RUNNING"
        return f"the start of {fn_name} was dropped, since {what.format(self.process_uid)}"


def in_the_way(
    process_uid: int, running: int | None, reserved: Iterable[int], *, is_abort: bool = False
) -> Obstacle | None:
    """Return what keeps a procedure from being called; None: it is its turn.

    :param running: the procedure of its device that runs, or is about to
    :param reserved: the abort scripts of its device that wait for their turn
    :param is_abort: it is one of them, and what it waited for has ended
    """
    if running is not None:
        return Obstacle(running, is_reserved=False) if running != process_uid else None
    others = (uid for uid in reserved if uid != process_uid)
    first = None if is_abort else min(others, default=None)
    return Obstacle(first, is_reserved=True) if first is not None else None
