"""One procedure as its device knows it: what clients see of it, and what is still to come of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...errors import InvalidStateError, TooManyError
from ..messages import LifecycleMessage
from ..state import ProcedureState, may_follow
from ._model import ArgCapture, ProcedureSummary, Progress, RequestRecord

_MOST_QUEUED_STARTS = 16


class Procedure:
    """A procedure of a device.  The lock of the device's procedures is held by whoever calls."""

    def __init__(self, summary: ProcedureSummary, *, abort_of: int | None = None, function: str = "") -> None:
        """Begin, or take up again, what is known of a procedure.

        :param abort_of: the procedure that this one is the abort script of
        :param function: the function that was called last
        """
        self.summary = summary
        """What clients see.  Replaced and never changed: by its identity the views know that it is still the same."""
        self.function = function
        self.progress: Progress | None = None
        self.abort_of = abort_of
        self.followed_by: int | None = None
        """The procedure of the abort script that follows it."""
        self.waits_for_turn = False
        """An abort script that has not been called yet: its turn is kept."""
        self.is_starting = False
        self.queued_starts = 0
        self.stopping = ""
        """What Status says of a stop that is under way."""
        self.dropped: tuple[str, ...] = ()
        """What Status says of each start that was dropped since the procedure was RUNNING."""
        self.newest_sequence = 0
        self.misreports = False

    @property
    def id(self) -> int:
        return self.summary.id

    @property
    def state(self) -> ProcedureState:
        return self.summary.state

    @property
    def is_alive(self) -> bool:
        return not self.summary.state.is_terminal

    @property
    def is_ending(self) -> bool:
        """Whether `main` has returned: the end follows by itself."""
        return self.state is ProcedureState.READY and self.function == "main"

    @property
    def values(self) -> dict[str, Any]:
        """The fields of StoredProcedure that change with the state."""
        return {
            "state": self.summary.state,
            "stacktrace": self.summary.history.stacktrace,
            "exit": self.summary.history.exit,
            "os_pid": self.summary.os_pid,
            "function": self.function,
        }

    # -- starts

    def check_start(self, *, force: bool) -> None:
        """See that a function may be asked for.

        :param force: the procedure need not be READY yet
        :raises InvalidStateError: it is not READY, or has ended, or is about to
        """
        if not self.is_alive or self.is_ending:
            raise InvalidStateError(f"procedure {self.id} is {self.state.name} and has ended or is ending")
        if not force and (self.state is not ProcedureState.READY or self.is_starting):
            shown = "being started" if self.is_starting else self.state.name
            raise InvalidStateError(f"procedure {self.id} is {shown}; it can be started when it is READY")

    def check_queue(self) -> None:
        """See that one more start may wait.

        :raises TooManyError: too many are waiting
        """
        if self.queued_starts >= _MOST_QUEUED_STARTS:
            raise TooManyError(f"{_MOST_QUEUED_STARTS} starts of procedure {self.id} are waiting already")

    def note_start(self, capture: ArgCapture) -> None:
        """Note a call that was asked for; one that cannot begin at once is queued."""
        self.summary = replace(self.summary, script_args=(*self.summary.script_args, capture))
        if self.state is ProcedureState.READY and not self.is_starting and not self.waits_for_turn:
            self.is_starting = True
        else:
            self.queued_starts += 1

    def note_request(self, request: RequestRecord) -> None:
        """Note who asked for what."""
        self.summary = replace(self.summary, requested_by=(*self.summary.requested_by, request))

    def note_provenance(self, provenance: dict[str, Any]) -> None:
        """Note what its worker has read."""
        self.summary = replace(self.summary, provenance=provenance)

    # -- changes

    def knows(self, message: LifecycleMessage) -> bool:
        """Say whether main has told this change before, perhaps to an earlier device server."""
        return (message.new_state, message.time) in self.summary.history.process_states

    def problem_with(self, message: LifecycleMessage) -> str:
        """Return why a change cannot be; "" if the procedure accepts it."""
        if may_follow(self.state, message.new_state):
            return ""
        return f"procedure {self.id} is {self.state.name}, which {message.new_state.name} may not follow"

    def take(self, message: LifecycleMessage) -> str | None:
        """Take up what a change tells beside the state, which is entered next.

        :return: the reason of the change
        """
        reason = message.reason
        if message.new_state is ProcedureState.COMPLETE:
            reason = self._with_starts_that_came_to_nothing(reason)
        self.function = message.fn_name or self.function
        if message.new_state is ProcedureState.RUNNING:
            self.waits_for_turn = False
            self.dropped = ()
            if not self.is_starting and self.queued_starts:
                self.queued_starts -= 1
        self.is_starting = False
        before = self.summary.history
        history = replace(before, stacktrace=message.stacktrace or before.stacktrace, exit=message.exit or before.exit)
        self.summary = replace(self.summary, history=history, os_pid=message.os_pid)
        return reason

    def take_drop(self, time: float, reason: str) -> str:
        """Take up that a start was dropped; READY is entered once more, next.

        :return: what the audit says of it, as the beginning of a sentence
        """
        if self.is_starting:
            self.is_starting = False
        elif self.queued_starts:
            self.queued_starts -= 1
        self.waits_for_turn = False
        history = self.summary.history
        dropped = (*history.dropped_starts, (time, reason))
        self.summary = replace(self.summary, history=replace(history, dropped_starts=dropped))
        return sentence_of_drop(self.id, reason)

    def enter(self, state: ProcedureState, time: float) -> None:
        """Be in a state, since `time` (Unix seconds)."""
        history = self.summary.history
        entered = (*history.process_states, (state, time))
        self.summary = replace(self.summary, state=state, history=replace(history, process_states=entered))
        if state.is_terminal:
            self.stopping, self.dropped, self.waits_for_turn = "", (), False

    def _with_starts_that_came_to_nothing(self, reason: str | None) -> str | None:
        count = self.queued_starts + self.is_starting
        if not count:
            return reason
        return f"{reason}; {count} start{'s' if count > 1 else ''} that waited for its turn came to nothing"


def sentence_of_drop(pid: int, reason: str) -> str:
    """Return the reason of a dropped start as the beginning of a sentence that names the procedure, too."""
    what, _, why = reason.removeprefix("the start of ").partition(" was dropped, ")
    return f"The start of {what} of procedure {pid} was dropped, {why}"
