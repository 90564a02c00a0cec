"""The long running commands of earlier servers, made again from what is kept of procedures.

Nothing is kept of the commands themselves: who has asked for what, and when, is in the history, and so is what the
procedures have been through.  What happened to them once happens to a tracker of their own once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from ..history import MOST_ENTRIES, StoredRequest
from ..script import ProcedureInput
from ..state import ProcedureState
from ._lrc import ABORT, NAMES, PREPARE, RUN, START, LongRunningCommand, TaskStatus
from ._lrc_tracker import CommandTracker, Started, problem_of_abort
from ._model import ArgCapture, ProcedureSummary

MOST_LOOKED_AT = 1000
"""Requests of the history that are looked through for what has finished."""

_RUNS = (RUN, "Run", "RunSelected")  # what calls main, or what was named, as soon as it can
_BEGAN = (ProcedureState.RUNNING, ProcedureState.READY)


def procedures_of(requests: Iterable[StoredRequest]) -> list[int]:
    """Return the ids of the procedures that long running commands among the newest requests have concerned."""
    found = (each.process_uid for each in requests if each.command in NAMES and each.answer.startswith("accepted"))
    return list(dict.fromkeys(uid for uid in found if uid))


def take_up_earlier(tracker: CommandTracker, summaries: Sequence[ProcedureSummary]) -> None:
    """Have a tracker know the commands that concern procedures of earlier servers, living and ended ones."""
    past = CommandTracker()
    past.take_up(_replayed(each) for each in summaries if _is_looked_at(each) and not tracker.concerns(each.id))
    aborted: dict[float, list[ProcedureSummary]] = {}
    for summary in summaries:
        for request in summary.requested_by:
            if request.command == ABORT:
                aborted.setdefault(request.time, []).append(summary)
    for time, concerned in sorted(aborted.items()):
        if tracker.status_of(LongRunningCommand(ABORT, 0, time).uid) is TaskStatus.NOT_FOUND:
            _take_up_abort(past, time, concerned)
    tracker.take_up([past])


def _is_looked_at(summary: ProcedureSummary) -> bool:
    """Say whether there is a command of it, or, while it lives, may be one behind starts that wait."""
    return not summary.state.is_terminal or any(request.command in NAMES for request in summary.requested_by)


def _replayed(summary: ProcedureSummary) -> CommandTracker:
    tracker, reasons = CommandTracker(), dict(summary.history.dropped_starts)
    tracker.look_at(summary.id)
    commands = {request.time: request.command for request in summary.requested_by if request.command in (RUN, START)}
    first = summary.requested_by[0] if summary.requested_by else None
    calls = _calls_that_count(summary)
    if first is not None and _is_whole(summary):
        if first.command in (RUN, PREPARE):
            tracker.begin(first.command, summary.id, first.time)
        if first.command in _RUNS and all(call.time != first.time for call in calls):
            # The server died when it had kept the request, and not yet what was to be called.
            calls = [ArgCapture("main", ProcedureInput(), first.time), *calls]
    for call in calls:
        name, time = commands.get(call.time, ""), call.time
        uid = tracker.begin(name, summary.id, time).uid if name == START else ""
        uid = f"{time!r}_{summary.id}_{RUN}" if name == RUN else uid
        tracker.note_start(summary.id, Started(call.fn, uid), 0)
    exit_reason = (summary.history.exit or {}).get("reason")
    previous: ProcedureState | None = None
    for state, time in summary.history.process_states:
        reason = str(exit_reason or "") if state.is_terminal else reasons.get(time)
        tracker.changed(summary.id, previous, state, time, reason)
        previous = state
    return tracker


def _calls_that_count(summary: ProcedureSummary) -> Sequence[ArgCapture]:
    """Return the functions that were asked for behind init, oldest first.

    Of a procedure that was called so often that not all of it is kept: those since the first start that is.
    """
    calls = summary.script_args[1:]
    if _is_whole(summary):
        return calls
    kept = summary.history.process_states[1:]
    pairs = (before for before, after in pairwise(kept) if after[0] in _BEGAN and before[0] in _BEGAN)
    state, since = next(pairs, (ProcedureState.READY, 0.0))
    later = [call for call in calls if call.time >= since]
    # What was under way then had been asked for before.
    under_way = calls[: len(calls) - len(later)][-1:] if state is ProcedureState.RUNNING else ()
    return [*under_way, *later]


def _is_whole(summary: ProcedureSummary) -> bool:
    """Say whether all is kept of a procedure; else what came first of it has finished long ago."""
    return len(summary.script_args) < MOST_ENTRIES and len(summary.history.process_states) < MOST_ENTRIES


def _take_up_abort(tracker: CommandTracker, time: float, concerned: Sequence[ProcedureSummary]) -> None:
    uid, _ = tracker.begin_abort(time)
    ended = time
    for summary in concerned:
        is_script = summary.requested_by[0].command == ABORT
        end = next(((state, when) for state, when in summary.history.process_states if state.is_terminal), None)
        if end is None:
            tracker.wait_for(uid, summary.id, is_script=is_script)
            continue
        ended = max(ended, end[1])
        reason = str((summary.history.exit or {}).get("reason") or "")
        tracker.note_abort_problem(uid, problem_of_abort(summary.id, end[0], reason, is_script=is_script))
    tracker.close_abort(uid, ended)
