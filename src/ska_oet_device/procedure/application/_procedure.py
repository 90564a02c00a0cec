"""One procedure as its device knows it: what clients see of it, and what is still to come of it."""

from __future__ import annotations

import time as clock
from dataclasses import replace
from typing import Any

from ...errors import InvalidStateError, TooManyError
from ..messages import LifecycleMessage
from ..state import ProcedureState, may_follow
from ..turns import Claim, Hold
from ._bounds import appended, of_ended, with_call
from ._model import ArgCapture, ProcedureSummary, Progress, RequestRecord
from ._result import with_result

_MOST_QUEUED_STARTS = 16
_SHOWN_AFTER = 10.0  # seconds that what follows by itself takes, before Status says so
_MOST_DROPS_SHOWN = 10


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
        self.whereabouts = ""
        """Where its process is, as the end of a sentence, while that goes on although it should end."""
        self._waits_since = clock.monotonic(), clock.time()
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
        """Whether something is left of it."""
        return not self.summary.state.is_final

    @property
    def is_unknown(self) -> bool:
        return self.state is ProcedureState.UNKNOWN

    @property
    def survivors(self) -> tuple[int, ...]:
        """The processes of one that is UNKNOWN."""
        return tuple((self.summary.history.exit or {}).get("survivors") or ())

    @property
    def clean_up_error(self) -> str:
        """What went wrong when it had to clean up; "" while nothing has."""
        return str((self.summary.history.exit or {}).get("clean_up_error") or "")

    @property
    def is_ending(self) -> bool:
        """Whether `main` has returned: the end follows by itself."""
        return self.state is ProcedureState.READY and self.function == "main"

    @property
    def claim(self) -> Claim | None:
        """What it has to do with the turn of its device, as far as is known here."""
        hold = Hold.of(
            drives=self.state is ProcedureState.RUNNING or self.is_ending,
            is_starting=self.is_starting,
            is_called=self.function not in ("", "init"),
            is_ending=bool(self.stopping) or self.is_ending,
            is_reserved=self.waits_for_turn,
            is_unknown=self.is_unknown,
        )
        return Claim(self.id, hold, self.survivors) if hold is not None else None

    @property
    def overdue(self) -> str:
        """What Status says of a process that is slow to begin a function, or to end; "" if none is."""
        monotonic, time = self._waits_since
        if self.whereabouts and not self.is_ending and not self.state.is_terminal:
            return f"The process of procedure {self.id} has not ended yet, {self.whereabouts}."
        if self.whereabouts and self.is_ending:
            since = clock.strftime("%H:%M:%S", clock.gmtime(time))
            main = f"main of procedure {self.id} returned at {since} UTC"
            return f"{main}, but its process has not ended yet, {self.whereabouts}."
        if self.stopping or clock.monotonic() - monotonic < _SHOWN_AFTER:
            return ""
        since = clock.strftime("%H:%M:%S", clock.gmtime(time))
        if self.is_ending:
            return f"main of procedure {self.id} returned at {since} UTC, but its process has not ended yet."
        is_called = self.is_starting or (self.queued_starts > 0 and not self.waits_for_turn)
        if self.state is ProcedureState.READY and is_called:
            return f"Procedure {self.id} was to be started at {since} UTC, but its process does not answer."
        return ""

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
        if self.state.is_terminal or self.is_ending:
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

    @property
    def queued_bytes(self) -> int:
        """How many bytes of arguments wait for their turn, here and in main."""
        calls = self.summary.script_args
        return sum(call.size for call in calls[len(calls) - self.queued_starts :])

    def note_drop(self, sentence: str) -> None:
        """Note what Status is to say of a start that was dropped."""
        self.dropped = (*self.dropped[1 - _MOST_DROPS_SHOWN :], sentence)

    def note_start(self, capture: ArgCapture) -> None:
        """Note a call that was asked for; one that cannot begin at once is queued."""
        self.summary = replace(self.summary, script_args=with_call(self.summary.script_args, capture))
        if self.state is ProcedureState.READY and not self.is_starting and not self.waits_for_turn:
            self.is_starting = True
            self._waits_since = clock.monotonic(), clock.time()
        else:
            self.queued_starts += 1

    def note_request(self, request: RequestRecord) -> None:
        """Note who asked for what."""
        self.summary = replace(self.summary, requested_by=appended(self.summary.requested_by, request))

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
        self.is_starting, self.whereabouts = False, ""
        self._waits_since = clock.monotonic(), clock.time()
        before = self.summary.history
        exit_ = with_result(message.exit) if message.exit else None
        history = replace(before, stacktrace=message.stacktrace or before.stacktrace, exit=exit_ or before.exit)
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
        dropped = appended(history.dropped_starts, (time, reason))
        self.summary = replace(self.summary, history=replace(history, dropped_starts=dropped))
        return sentence_of_drop(self.id, reason)

    def enter(self, state: ProcedureState, time: float) -> None:
        """Be in a state, since `time` (Unix seconds)."""
        history = self.summary.history
        entered = appended(history.process_states, (state, time))
        self.summary = replace(self.summary, state=state, history=replace(history, process_states=entered))
        if state.is_terminal:
            self.summary = replace(self.summary, script_args=of_ended(self.summary.script_args))
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
