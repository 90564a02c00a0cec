"""When a procedure has taken too long for what it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..state import ProcedureState
from ._allowance import Allowance
from ._guard import Clock

START_PATIENCE = 60.0  # seconds from a call to RUNNING: its worker has to read it, behind messages for listeners

_PHASES = {
    ProcedureState.CREATING: "LoadTimeout",
    ProcedureState.IDLE: "LoadTimeout",
    ProcedureState.PREP_ENV: "EnvironmentTimeout",
    ProcedureState.LOADING: "LoadTimeout",
    ProcedureState.INITIALISING: "InitTimeout",
    ProcedureState.RUNNING: "RunTimeout",
}


class Deadline:
    """The deadline of the phase that a procedure is in; READY, where it waits to be called, has none.  In main's loop.

    :param timeouts: the device's properties, in seconds; 0: none
    :param on_late: called once with what took too long
    """

    def __init__(self, loop: Clock, timeouts: Mapping[str, float], on_late: Callable[[str], None]) -> None:
        self._loop = loop
        self._timeouts = timeouts
        self._on_late = on_late
        self._timer: Allowance | None = None
        self._reason = ""

    def enter(self, state: ProcedureState, at_least: float = 0.0) -> None:
        """Begin the phase of a state, if it has a deadline.

        :param at_least: seconds that it has, however short the device's property is
        """
        self.cancel()
        limit = _PHASES.get(state)
        seconds = self._timeouts.get(limit, 0.0) if limit else 0.0
        if 0 < seconds < at_least:
            self._set(at_least, f"{state.name} took longer than {at_least:g} s")
        elif seconds > 0:
            self._set(seconds, f"{state.name} took longer than {limit} ({seconds:g} s)")

    def call(self, fn_name: str) -> None:
        """A function has been called: RUNNING is to follow."""
        why = "its process is stopped or hangs, or a listener of the script has not returned"
        self._set(START_PATIENCE, f"{fn_name} was not begun within {START_PATIENCE:g} s of its call: {why}")

    def outlive_main(self) -> None:
        """`main` has returned, and its process lives on: RunTimeout counts on until that has gone."""
        seconds = self._timeouts.get("RunTimeout", 0.0)
        self._reason = f"main has returned, but its process had not ended when RunTimeout ({seconds:g} s) was over"

    def cancel(self) -> None:
        """Have no deadline."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self, seconds: float, reason: str) -> None:
        self.cancel()
        self._reason = reason
        self._timer = Allowance(self._loop, seconds, lambda: self._on_late(self._reason))
