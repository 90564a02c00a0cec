"""The procedures of a device that clients see, and how they stand together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter

from ...errors import BusyError, TooManyError
from ..state import ProcedureState
from ..turns import in_the_way
from ._model import Active, Failure, ProcedureSummary, Snapshot
from ._procedure import Procedure

FAILED = (ProcedureState.FAILED, ProcedureState.UNKNOWN)
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
        """Those that have not ended."""
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

        :raises BusyError: another one runs, or an abort script runs next
        """
        if procedure.state is not ProcedureState.READY:
            return
        living = self._living.values()
        waiting = (each.id for each in living if each.waits_for_turn)
        starting = next((each.id for each in living if each.is_starting), None)
        obstacle = in_the_way(procedure.id, self._running.id if self._running else starting, waiting)
        if obstacle is not None:
            raise BusyError(obstacle.refusal(procedure.id))

    def add(self, procedure: Procedure) -> None:
        """Add one that is new, or that an earlier device server has known."""
        pid, summary = procedure.id, procedure.summary
        self._known[pid] = procedure
        self.states[pid] = summary.state
        self._last_changed = pid
        (self._ended if summary.state.is_terminal else self._living)[pid] = procedure
        if summary.state is ProcedureState.FAILED:
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
        procedure.enter(state, time)
        pid = procedure.id
        self.states[pid] = state
        self._last_changed = pid
        if state is ProcedureState.RUNNING:
            self.failure, self.abort_failure = None, ""
        if state in FAILED:
            self.failure = Failure(pid, procedure.summary.script.script_uri, state, reason or "", time)
            if procedure.abort_of is not None:
                self.abort_failure = f"Abort script (procedure {pid}) {state.name}: {reason}."
        if state is ProcedureState.FAILED:
            self.newest_failure = procedure.summary.history.stacktrace or reason or ""
        if state.is_terminal:
            self._ended[pid] = self._living.pop(pid)
            self._forget_oldest()

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
            return Snapshot(self.summaries, self._active(), self.newest_failure, self.failure)

    @property
    def summaries(self) -> tuple[ProcedureSummary, ...]:
        """What clients see of each."""
        return tuple(map(_summary, self))

    def _active(self) -> Active:
        active = self.active
        if active is None:
            return Active()
        return Active(active.id, active.state, active.function if active.state in _CALLING else "")
