"""Taking up the procedures of earlier device servers, and telling the truth about those that did not survive."""

from __future__ import annotations

import logging
import time as clock
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from ...errors import OetError
from ...logs import about
from ..history import LifecycleEvent, MemoryHistory, StoredProcedure
from ..state import ProcedureState
from ._abort import sentence_on_drop
from ._audit import NOT_FOLLOWED, SERVER
from ._bounds import ALIVE, ENDED
from ._changes import ChangeRecorder
from ._model import Failure, ProcedureHistory
from ._procedure import Procedure, sentence_of_drop
from ._procedures import FAILED, Procedures, sentence_on_abort, sentence_on_clean_up
from ._stored import stored_of_living, summary_of

_log = logging.getLogger(__name__)

_MOST_EVENTS = 1000  # looked through for the newest failure
_MOST_FAILURES = 100  # of which it is looked whether they are an abort script's
_MOST_REQUESTS = 1000  # looked through for an abort script that could not follow


class Restorer:
    """Takes up what earlier device servers have left: in main, and in the history."""

    def __init__(
        self,
        procedures: Procedures,
        history: MemoryHistory,
        recorder: ChangeRecorder,
        device: str,
        uri: Callable[[int], str],
    ) -> None:
        self._procedures = procedures
        self._history = history
        self._recorder = recorder
        self._device = device
        self._uri = uri

    def restore(
        self, living: Iterable[dict[str, Any]], untold: Collection[tuple[int, int, float]], history_length: int
    ) -> None:
        """Take up the procedures of an earlier device server: those that live, and the newest that have ended.

        :param living: what main says of the procedures that it supervises
        :param untold: procedure, state and time of the changes that main is going to tell again
        """
        alive = {int(item["process_uid"]): item for item in living}
        with self._procedures.lock:
            for stored in sorted(self._stored(history_length), key=lambda stored: stored.id):
                self._take_up(stored)
                alive.pop(stored.id, None)
            for pid, item in sorted(alive.items()):
                if self._history.is_there:
                    self._record_living(pid, item)
                else:
                    self._take_up_living(pid, item, untold)
            self._procedures.failure = self._failure_before()
            self._procedures.clean_up_failure = self._clean_up_failure_before()
            self._procedures.abort_failure = self._abort_failure_before()
            self._history.reserve_ids(self._procedures.highest_id)

    def recall(self, history_length: int) -> dict[int, str]:
        """Take up what a history that has come late knows of earlier servers' procedures.

        :return: the run ids of those that have not ended, as far as it knows
        :raises HistoryError: it cannot be read all the same
        """
        found = self._stored(history_length)
        before, clean_up_failure = self._failure_before(), self._clean_up_failure_before()
        abort_failure = self._abort_failure_before()
        with self._procedures.lock:
            older = [stored for stored in found if self._procedures.get(stored.id) is None]
            taken = [_procedure_of(stored) for stored in sorted(older, key=lambda stored: stored.id)]
            self._procedures.add_older(taken)
            for procedure in taken:
                self._join_abort(procedure)
            self._procedures.failure = self._procedures.failure or before
            self._procedures.clean_up_failure = self._procedures.clean_up_failure or clean_up_failure
            self._procedures.abort_failure = self._procedures.abort_failure or abort_failure
            return {stored.id: stored.run_id for stored in older if not stored.state.is_final}

    def settle(self, left: Collection[int], reaped: Mapping[int, list[int]], elsewhere: str, cause: str) -> None:
        """End the procedures that did not survive: FAILED, with what happened.

        :param left: their ids; one of them that has ended meanwhile stays as it is
        :param reaped: which processes of which procedure were found and killed
        :param elsewhere: the host on which they ran, if that is not this one
        :param cause: what has happened meanwhile
        """
        with self._procedures.lock:
            for procedure in self._procedures.living:
                if procedure.id in left:
                    self._end(procedure, reaped.get(procedure.id, []), elsewhere, cause)

    def _end(self, procedure: Procedure, killed: list[int], elsewhere: str, cause: str) -> None:
        gone = "nobody looks after its process any more" if procedure.is_unknown else "its process was gone"
        if elsewhere:
            gone = f"it ran on host {elsewhere}"
        found = f"process {', '.join(map(str, killed))} was reaped" if killed else gone
        reason = f"{cause} while the procedure was {procedure.state.name}; {found}"
        exit_ = {
            "exit_code": None,
            "signal": None,
            "reason": reason,
            "signals_sent": [],
            "reaped": killed,
            "survivors": [],
        }
        history = replace(procedure.summary.history, exit=exit_)
        procedure.summary = replace(procedure.summary, os_pid=None, history=history)
        self._recorder.enter(procedure, ProcedureState.FAILED, clock.time(), reason)

    def _stored(self, history_length: int) -> list[StoredProcedure]:
        return [*self._history.newest_ended(history_length, ENDED), *self._history.unfinished(ALIVE)]

    def _take_up(self, stored: StoredProcedure) -> None:
        procedure = _procedure_of(stored)
        self._procedures.add(procedure)
        self._join_abort(procedure)

    def _join_abort(self, procedure: Procedure) -> None:
        """Let the procedure know that was stopped, if this one is the abort script that follows it."""
        stopped = self._procedures.get(procedure.abort_of) if procedure.abort_of is not None else None
        if stopped is not None:
            stopped.followed_by = procedure.id

    def _take_up_living(self, pid: int, item: dict[str, Any], untold: Collection[tuple[int, int, float]]) -> None:
        """Take up a procedure of which main alone can tell now; what was told of it is not told again."""
        told = [(state, time) for state, time in item["states"] if (pid, state, time) not in untold]
        stored = stored_of_living({**item, "states": told or item["states"][:1]}, self._uri(pid))
        self._take_up(stored)
        self._history.adopt(stored)

    def _record_living(self, pid: int, item: dict[str, Any]) -> None:
        """Record what main knows of a procedure that an earlier device server could not record."""
        _log.warning("procedure %d lives, but is not in the history", pid, extra=about(self._device, pid))
        summary = summary_of(stored_of_living(item, self._uri(pid)))
        states, dropped = summary.history.process_states, summary.history.dropped_starts
        procedure = Procedure(replace(summary, history=ProcedureHistory(dropped_starts=dropped)))
        self._procedures.add(procedure)
        for state, time in states:
            self._recorder.enter(procedure, state, time, dict(dropped).get(time))

    def _failure_before(self) -> Failure | None:
        """Return what the newest lifecycle events say of a failure that no start has followed."""
        history = self._history
        newest: LifecycleEvent | None = None
        for event in self._newest_events():
            newest = _failure_after(event, newest)
        if newest is None:
            return None
        found = history.procedures([newest.process_uid], 0).get(newest.process_uid)
        return _failure_of(newest, found)

    def _clean_up_failure_before(self) -> str:
        """Return the sentence on the newest procedure whose clean-up failed, unless a start has followed."""
        ended: list[int] = []
        for event in self._newest_events():
            if event.state is ProcedureState.RUNNING:
                ended.clear()
            elif event.state.is_final and event.state is not ProcedureState.COMPLETE:
                ended.append(event.process_uid)
        found = self._history.procedures(ended, 0) if ended else {}
        for pid in reversed(ended):
            error = (found[pid].exit or {}).get("clean_up_error") if pid in found else None
            if error:
                return sentence_on_clean_up(pid, str(error))
        return ""

    def _abort_failure_before(self) -> str:
        """Return the sentence on the newest abort script that did not do its work, unless a start has followed."""
        since, events = 0.0, list[LifecycleEvent]()
        for event in self._newest_events():
            if event.state is ProcedureState.RUNNING:
                since = event.time
                events.clear()
            elif event.state in FAILED or event.previous in (event.state, ProcedureState.UNKNOWN):
                events.append(event)
        newest_ids = {event.process_uid for event in events[-_MOST_FAILURES:]}
        found = self._history.procedures(newest_ids, 0) if newest_ids else {}
        time, sentence = since, ""
        for event in events:
            stored = found.get(event.process_uid)
            told = _abort_failure_after(event, stored) if stored is not None and stored.abort_of is not None else None
            if told is not None:
                time, sentence = event.time, told
        return self._not_followed_since(time) or sentence

    def _not_followed_since(self, time: float) -> str:
        """Return the sentence on the newest abort script that could not follow after `time`: no event has it."""
        try:
            requests = self._history.requests_before(0, _MOST_REQUESTS)
        except OetError as error:  # what lives is taken up all the same
            _log.warning("whether abort scripts could follow is not known: %s", error, extra=about(self._device))
            return ""
        newest = (each.answer for each in requests if each.time > time and each.client == SERVER)
        kept = (answer for answer in newest if answer.startswith(NOT_FOLLOWED))
        return next(kept, "").removeprefix(NOT_FOLLOWED)

    def _newest_events(self) -> list[LifecycleEvent]:
        return self._history.events_after(max(0, self._history.last_sequence - _MOST_EVENTS), _MOST_EVENTS)


def _failure_after(event: LifecycleEvent, before: LifecycleEvent | None) -> LifecycleEvent | None:
    """Return the event of the failure that the device tells of after an event, as `Procedures` has it."""
    if event.state in FAILED:
        return event
    if event.state is ProcedureState.RUNNING:
        return None
    was_unknown = event.previous is ProcedureState.UNKNOWN  # it was stopped after all
    is_its_own = before is not None and before.process_uid == event.process_uid
    return None if was_unknown and is_its_own else before


def _abort_failure_after(event: LifecycleEvent, stored: StoredProcedure) -> str | None:
    """Return what an event of an abort script makes Status say, as `Procedures` has it; None: it stays as it was."""
    if event.state in FAILED:
        return sentence_on_abort(_failure_of(event, stored))
    if event.state is event.previous is ProcedureState.READY:
        return sentence_on_drop(sentence_of_drop(stored.id, event.reason or ""), _uri_of(stored))
    return "" if event.previous is ProcedureState.UNKNOWN else None


def _failure_of(event: LifecycleEvent, stored: StoredProcedure | None) -> Failure:
    return Failure(event.process_uid, _uri_of(stored), event.state, event.reason or "", event.time)


def _uri_of(stored: StoredProcedure | None) -> str:
    return str(stored.script.get("script_uri", "")) if stored is not None else ""


def _procedure_of(stored: StoredProcedure) -> Procedure:
    procedure = Procedure(summary_of(stored), abort_of=stored.abort_of, function=stored.function)
    if stored.state is ProcedureState.READY and stored.dropped:
        procedure.dropped = _dropped_since_last_run(stored)
    return procedure


def _dropped_since_last_run(stored: StoredProcedure) -> tuple[str, ...]:
    """Return what Status says of the starts that were dropped since a procedure was RUNNING."""
    reasons, states = dict(stored.dropped), stored.states
    last = max((i for i, (state, _) in enumerate(states) if state is ProcedureState.RUNNING), default=-1)
    dropped = [reasons[time] for state, time in states[last + 1 :] if time in reasons]
    return tuple(f"{sentence_of_drop(stored.id, reason)}; procedure {stored.id} stays READY." for reason in dropped)
