"""The one place where the state of a procedure changes in the device server."""

from __future__ import annotations

import functools
import logging

from ...event import Bus, topics
from ...logs import about
from ..history import LifecycleEvent, MemoryHistory
from ..state import ProcedureState
from ._lrc_tracker import CommandTracker
from ._model import Change
from ._procedure import Procedure
from ._procedures import Procedures
from ._stored import stored

_log = logging.getLogger(__name__)

_SEVERITY = {ProcedureState.FAILED: logging.ERROR, ProcedureState.UNKNOWN: logging.CRITICAL}


class ChangeRecorder:
    """Numbers each change, keeps it, and tells of it once it is in the history: first clients, then main."""

    def __init__(
        self, procedures: Procedures, history: MemoryHistory, bus: Bus, device: str, commands: CommandTracker
    ) -> None:
        self._procedures = procedures
        self._commands = commands
        self._history = history
        self._bus = bus
        self._device = device

    def enter(
        self, procedure: Procedure, state: ProcedureState, time: float, reason: str | None, *, number: int = 0
    ) -> None:
        """Have a procedure enter a state.  The procedures' lock is held; the clients are told without it.

        :param time: Unix seconds
        :param number: main's number of the announcement; 0 if there was none
        """
        is_new = not procedure.summary.history.process_states
        previous = None if is_new else procedure.state
        event = self._history.next_event(procedure.id, procedure.summary.run_id, previous, state, time, reason)
        self._procedures.enter(procedure, state, time, reason)
        procedure.newest_sequence = event.sequence
        updates = self._commands.changed(procedure.id, previous, state, time, reason)
        tell = functools.partial(self._tell, Change(event, self._procedures.snapshot(), updates))
        self._log(event)
        if is_new:
            self._history.add_procedure(stored(procedure.summary, procedure.abort_of), event, tell)
        else:
            done = functools.partial(self.acknowledge, number)
            self._history.keep(event, procedure.values, tell, number, done)

    def acknowledge(self, number: int) -> None:
        """Tell main that it need not repeat one of its announcements.  Any thread."""
        if number:
            self._bus.publish(topics.procedure.lifecycle.acknowledged, number=number)

    def _tell(self, change: Change) -> None:
        self._bus.publish(topics.procedure.lifecycle.recorded, msg_src=change.event.process_uid, change=change)

    def _log(self, event: LifecycleEvent) -> None:
        state = event.state
        _log.log(
            _SEVERITY.get(state, logging.INFO),
            "procedure %d is %s%s%s",
            event.process_uid,
            state.name,
            f" after {event.previous.name}" if event.previous is not None else "",
            f": {event.reason}" if event.reason else "",
            extra=about(self._device, event.process_uid, event.run_id),
        )
