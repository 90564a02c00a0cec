"""The newest output of the active script, and of the selected one, looked at five times a second while they print."""

from __future__ import annotations

import time as clock
from typing import NamedTuple

from ..application import ScriptExecutionService
from ..state import ProcedureState
from ._terminal import as_shown

_APART = 0.2  # seconds: 5 a second
_PRINTING = (ProcedureState.LOADING, ProcedureState.INITIALISING, ProcedureState.RUNNING)


class Tails(NamedTuple):
    """The last lines of what two procedures, which may be the same one, have printed, as a terminal shows them."""

    active: str
    selected: str


class OutputFollower:
    """Says when to look at the output of two scripts, and what is new.  Used by the thread of events."""

    def __init__(self, service: ScriptExecutionService) -> None:
        self._service = service
        self._due = 0.0
        self._follows = False
        self._looks_again = False
        self._seen: tuple[tuple[int, int], ...] = ()

    def begin(self) -> None:
        """Look again from now on: a procedure has changed, or another one is selected."""
        self._follows = self._looks_again = True

    def seconds_until_due(self) -> float | None:
        """Return in how many seconds to look again; None: not before something happens."""
        return max(0.0, self._due - clock.monotonic()) if self._follows else None

    def look(self) -> Tails | None:
        """Return the last lines, if they are due, and there is something new; else None."""
        if clock.monotonic() < self._due:
            return None
        self._due = clock.monotonic() + _APART
        output, snapshot = self._service.output, self._service.snapshot()
        active = snapshot.active.process_uid
        uids = (active, self._service.selection.process_uid or active)
        prints = any(summary.id in uids and summary.state in _PRINTING for summary in snapshot.living)
        # Once more after the last change: the last words are written by then.
        self._follows, self._looks_again = self._looks_again or prints, False
        if output is None:
            self._follows = False
            return None
        seen = tuple((uid, output.size(uid) if uid else 0) for uid in uids)
        if seen == self._seen:
            return None
        self._seen = seen
        texts = {uid: as_shown(output.tail(uid)) if uid else "" for uid in set(uids)}
        return Tails(*(texts[uid] for uid in uids))
