"""The newest output of the active script, looked at five times a second while it prints."""

from __future__ import annotations

import time as clock

from ..application import ScriptExecutionService
from ..state import ProcedureState
from ._terminal import as_shown

_APART = 0.2  # seconds: 5 a second
_PRINTING = (ProcedureState.LOADING, ProcedureState.INITIALISING, ProcedureState.RUNNING)


class OutputFollower:
    """Says when to look at the output of the active script, and what is new.  Used by the thread of events."""

    def __init__(self, service: ScriptExecutionService) -> None:
        self._service = service
        self._due = 0.0
        self._follows = False
        self._looks_again = False
        self._seen = (0, 0)

    def begin(self) -> None:
        """Look again from now on: a procedure has changed."""
        self._follows = self._looks_again = True

    def seconds_until_due(self) -> float | None:
        """Return in how many seconds to look again; None: not before something happens."""
        return max(0.0, self._due - clock.monotonic()) if self._follows else None

    def look(self) -> str | None:
        """Return the last lines, as a terminal shows them, if they are due, and there is something new; else None."""
        if clock.monotonic() < self._due:
            return None
        self._due = clock.monotonic() + _APART
        output, active = self._service.output, self._service.snapshot().active
        # Once more after the last change: the last words are written by then.
        self._follows, self._looks_again = self._looks_again or active.state in _PRINTING, False
        if output is None:
            self._follows = False
            return None
        seen = (active.process_uid, output.size(active.process_uid) if active.process_uid else 0)
        if seen == self._seen:
            return None
        self._seen = seen
        return as_shown(output.tail(active.process_uid))
