"""The procedures of a device that clients see, and how they stand together."""

from __future__ import annotations

import threading
import time as clock
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter

from ...errors import BusyError, TooManyError
from ..state import ProcedureState
from ..turns import in_the_way
from ._model import Active, ArgCapture, Failure, ProcedureSummary, Snapshot
from ._procedure import Procedure

FAILED = (ProcedureState.FAILED, ProcedureState.UNKNOWN)
_NEW = 0  # the id of a procedure that is to come: they begin at 1
_LONGEST_ERROR = 300  # characters in Status
_BY_HAND = "Do by hand what it has left undone."
_MOST_QUEUED_BYTES = 64 * 1024 * 1024
_CALLING = (ProcedureState.INITIALISING, ProcedureState.RUNNING)
_summary = attrgetter("summary")


class Procedures:
    """The living procedures of a device, and the newest that have ended; oldest first.

    `lock` guards them, and `states`, which ProcessManager shares.  It may be held more than once by one thread, and
    never while an event is pushed.
    """

    def __init__(self, history_length: Callable[[], int]) -> None:
        """Begin without any.

        :param history_length: returns how many that have ended are kept here
        """
        self.lock = threading.RLock()
        self.states: dict[int, ProcedureState] = {}
        self.newest_failure = ""
        """The stack trace, or the reason, of the procedure that failed last."""
        self.failure: Failure | None = None
        """The newest procedure that failed, until one is RUNNING."""
        self.abort_failure = ""
        """The sentence on an abort script that did not do its work, until something is RUNNING."""
        self.clean_up_failure = ""
        """The sentence on a script that was stopped and has not cleaned up, until something is RUNNING."""
        self.sought_for: list[int] = []
        """Procedures that are being stopped, and whose abort script is being looked for: the next turn is its."""
        self._history_length = history_length
        self._known: dict[int, Procedure] = {}
        self._living: dict[int, Procedure] = {}
        self._ended: dict[int, Procedure] = {}  # in the order of their ends, whatever the clock has done
        self._last_changed = 0

    def __iter__(self) -> Iterator[Procedure]:
        return iter(self._known.values())

    def get(self, pid: int) -> Procedure | None:
        return self._known.get(pid)

    @property
    def highest_id(self) -> int:
        return max(self._known, default=0)

    @property
    def living(self) -> list[Procedure]:
        """Those of which something is left: they have not ended, or are UNKNOWN."""
        with self.lock:
            return list(self._living.values())

    # -- what comes, changes and goes; the lock is held

    def check_room(self, most: int) -> None:
        """See that one more procedure may live.

        :raises TooManyError: `most` are alive
        """
        alive = len(self._living)
        if alive >= most:
            raise TooManyError(f"{alive} procedures are alive, and MaxProcedures is {most}")

    def check_turn(self, procedure: Procedure) -> None:
        """See that no other procedure stands in the way of one that is READY; any other one waits for its turn.

        :raises BusyError: another one has the turn, or an abort script has the next
        """
        if procedure.state is ProcedureState.READY:
            self._check_turn(procedure.id, f"procedure {procedure.id}")

    def check_free(self) -> None:
        """See that a procedure that is not there yet could be started now.

        :raises BusyError: one has the turn, or an abort script has the next
        """
        self._check_turn(_NEW, "another one")

    def _check_turn(self, pid: int, whose: str) -> None:
        if self.sought_for:
            raise BusyError(
                f"the abort script of procedure {self.sought_for[0]} runs next; "
                f"{whose} cannot be started before it ends"
            )
        claims = (claim for each in self._living.values() if (claim := each.claim) is not None)
        obstacle = in_the_way(pid, claims)
        if obstacle is not None:
            raise BusyError(obstacle.refusal(whose))

    def check_waiting(self, call: ArgCapture) -> None:
        """See that there is room for the arguments of one more start that may have to wait: main holds them as well.

        :raises TooManyError: there is not
        """
        waiting = sum(each.queued_bytes for each in self._living.values())
        if waiting + call.size > _MOST_QUEUED_BYTES:
            raise TooManyError(f"starts with {waiting} bytes of arguments are waiting already")

    def add(self, procedure: Procedure) -> None:
        """Add one that is new, or that an earlier device server has known."""
        pid, summary = procedure.id, procedure.summary
        self._known[pid] = procedure
        self.states[pid] = summary.state
        self._last_changed = pid
        (self._ended if summary.state.is_final else self._living)[pid] = procedure
        if summary.state is ProcedureState.FAILED or procedure.clean_up_error:
            self.newest_failure = summary.history.stacktrace or (summary.history.exit or {}).get("reason") or ""

    def add_older(self, older: Iterable[Procedure]) -> None:
        """Add procedures that were there before those that are here: these stay the newest."""
        ended, self._ended = self._ended, {}
        changed, failure = self._last_changed, self.newest_failure
        for procedure in older:
            self.add(procedure)
        self._ended.update(ended)
        self._known, self._living = dict(sorted(self._known.items())), dict(sorted(self._living.items()))
        self._last_changed = changed or self._last_changed
        self.newest_failure = failure or self.newest_failure
        self._forget_oldest()

    def enter(self, procedure: Procedure, state: ProcedureState, time: float, reason: str | None) -> None:
        """Have a procedure be in a state; `ChangeRecorder` alone calls this."""
        pid, was_unknown = procedure.id, procedure.state is ProcedureState.UNKNOWN
        procedure.enter(state, time)
        self.states[pid] = state
        self._last_changed = pid
        if state is ProcedureState.RUNNING:
            self.failure, self.abort_failure, self.clean_up_failure = None, "", ""
        if state in FAILED:
            self.failure = Failure(pid, procedure.summary.script.script_uri, state, reason or "", time)
            if procedure.abort_of is not None:
                self.abort_failure = sentence_on_abort(self.failure)
        if state.is_final and procedure.clean_up_error:
            self.clean_up_failure = sentence_on_clean_up(pid, procedure.clean_up_error)
        if state is ProcedureState.FAILED or (state.is_final and procedure.clean_up_error):
            self.newest_failure = procedure.summary.history.stacktrace or reason or ""
        if state is ProcedureState.STOPPED and was_unknown:
            self._take_back(procedure)
        if state.is_final:
            self._ended[pid] = self._living.pop(pid)
            self._forget_oldest()

    def _take_back(self, procedure: Procedure) -> None:
        """A procedure that was stopped is UNKNOWN no more: that it was is no failure."""
        if self.failure is not None and self.failure.process_uid == procedure.id:
            self.failure = None
        if procedure.abort_of is not None:
            self.abort_failure = ""

    def _forget_oldest(self) -> None:
        for pid in list(self._ended)[: max(0, len(self._ended) - self._history_length())]:
            del self._ended[pid], self._known[pid], self.states[pid]

    # -- what clients see

    @property
    def active(self) -> Procedure | None:
        """The one that is RUNNING, else the one that changed last, if it is still here."""
        return self._running or self._known.get(self._last_changed)

    @property
    def _running(self) -> Procedure | None:
        return next((each for each in self._living.values() if each.state is ProcedureState.RUNNING), None)

    def snapshot(self) -> Snapshot:
        """Return how things stand."""
        with self.lock:
            living = tuple(map(_summary, self._living.values()))
            return Snapshot(self.summaries, living, self._active(), self.newest_failure, self.failure)

    @property
    def summaries(self) -> tuple[ProcedureSummary, ...]:
        """What clients see of each."""
        return tuple(map(_summary, self))

    def _active(self) -> Active:
        active = self.active
        if active is None:
            return Active()
        called = active.function if active.state in _CALLING else ""
        return Active(active.id, active.state, called, active.summary.script.script_uri)


def sentence_on_clean_up(pid: int, error: str) -> str:
    """Return what Status says of a script that was stopped, and did not clean up."""
    return f"Procedure {pid} was ended, but its clean-up failed: {_shown(error)}. {_BY_HAND}"


def sentence_on_abort(failure: Failure) -> str:
    """Return what Status says of an abort script that has failed."""
    since = clock.strftime("%Y-%m-%dT%H:%M:%SZ", clock.gmtime(failure.time))
    reason = next((line.strip() for line in failure.reason.splitlines() if line.strip()), "no reason was given")
    which = f"Abort script {failure.script_uri} (procedure {failure.process_uid})"
    return f"{which} {failure.state.name} at {since}: {_shown(reason).removesuffix('.')}. {_BY_HAND}"


def _shown(error: str) -> str:
    return error if len(error) <= _LONGEST_ERROR else f"{error[:_LONGEST_ERROR]} ..."
