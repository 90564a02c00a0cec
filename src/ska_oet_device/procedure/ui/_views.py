"""What clients see of how things stand: State and Status, rows, progress, and the attribute `procedures`."""

from __future__ import annotations

import time as clock
from collections.abc import Sequence
from dataclasses import dataclass

import tango

from ..application import Failure, Notices, ProcedureSummary, Progress, Snapshot
from ..state import TERMINAL, ProcedureState
from ._health import Diagnosis, Health
from ._summaries import summary_json
from .codec import latin1

_LONGEST_SPECTRUM = 100_000
_LONGEST_REASON = 300  # characters in Status

_NAMES = {state: state.name for state in ProcedureState}


class SummaryViews:
    """The current summaries as JSON, each of them written once.  Any thread."""

    def __init__(self, *, stacktrace: bool) -> None:
        self._stacktrace = stacktrace
        self._texts: dict[int, tuple[ProcedureSummary, str]] = {}

    def json(self, summaries: Sequence[ProcedureSummary]) -> str:
        """Return the summaries as a JSON list."""
        texts = self._texts
        parts = []
        for summary in summaries:
            known = texts.get(summary.id)
            if known is None or known[0] is not summary:
                known = texts[summary.id] = (summary, summary_json(summary, stacktrace=self._stacktrace))
            parts.append(known[1])
        if len(texts) > 2 * len(parts) + 16:
            current = {summary.id for summary in summaries}
            self._texts = {uid: known for uid, known in list(texts.items()) if uid in current}
        return f"[{', '.join(parts)}]"


def procedure_rows(snapshot: Snapshot) -> tuple[list[int], list[str], list[str]]:
    """Return ids, script URIs and states, one row a procedure, oldest first."""
    rows = snapshot.summaries[-_LONGEST_SPECTRUM:]
    return (
        [summary.id for summary in rows],
        [latin1(summary.script.script_uri) for summary in rows],
        [_NAMES[summary.state] for summary in rows],
    )


def progress_values(progress: Progress | None) -> tuple[float, str, tango.AttrQuality]:
    """Return percentage, activity and quality; INVALID where the script reports nothing."""
    if progress is None:
        return 0.0, "", tango.AttrQuality.ATTR_INVALID
    return progress.percent, latin1(progress.activity), tango.AttrQuality.ATTR_VALID


@dataclass(frozen=True)
class Standing:
    """What the device's properties, and what they name, have to do with State and Status.

    :param problems: sentences on what a person must mend
    :param remarks: sentences for Status only
    :param nothing_runs: there is no place that a script could come from
    :param alarm_on_failure: State is ALARM from a failure to the next start
    """

    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    nothing_runs: bool = False
    alarm_on_failure: bool = False


def device_state(
    snapshot: Snapshot, diagnosis: Diagnosis, standing: Standing, notices: Notices
) -> tuple[tango.DevState, str]:
    """Return the device's State, and in plain sentences why."""
    alive = [summary for summary in snapshot.summaries if summary.state not in TERMINAL]
    running = next((summary for summary in alive if summary.state is ProcedureState.RUNNING), None)
    is_running = f"Procedure {running.id} is RUNNING ({running.script.script_uri})." if running else ""
    failed = _failed(snapshot.failure) if snapshot.failure else ""
    notes = [is_running, failed, *standing.problems, *standing.remarks, *notices.sentences, *diagnosis.reasons]
    unknown = [summary.id for summary in snapshot.summaries if summary.state is ProcedureState.UNKNOWN]
    if diagnosis.supervisor_gone or standing.nothing_runs:
        state, sentence = tango.DevState.FAULT, "No script can be run."
    elif unknown:
        ids = ", ".join(map(str, unknown))
        state, sentence = tango.DevState.ALARM, f"Procedure {ids} could not be killed and needs a person."
    elif diagnosis.health is Health.FAILED or diagnosis.store_full:
        state, sentence = tango.DevState.ALARM, "This server cannot do its job as it should."
    elif notices.abort_failed:
        state, sentence = tango.DevState.ALARM, notices.abort_failed
    elif standing.problems:
        state, sentence = tango.DevState.ALARM, "The configuration of this device needs a person."
    elif failed and standing.alarm_on_failure:
        state, sentence = tango.DevState.ALARM, failed
    elif running is not None:
        state, sentence = tango.DevState.RUNNING, is_running
    else:
        count = len(alive)
        prepared = f"{count} procedure{'s are' if count != 1 else ' is'} prepared" if count else "no procedure is alive"
        state, sentence = tango.DevState.ON, f"Ready: {prepared}."
    return state, latin1(" ".join([sentence, *(note for note in notes if note and note != sentence)]))


def _failed(failure: Failure) -> str:
    """Return what is said of a failure until the next start: which procedure, since when, and why."""
    since = clock.strftime("%Y-%m-%dT%H:%M:%SZ", clock.gmtime(failure.time))
    reason = next((line.strip() for line in failure.reason.splitlines() if line.strip()), "no reason was given")
    return f"Procedure {failure.process_uid} ({failure.script_uri}) {failure.state.name} at {since}: {_ended(reason)}"


def _ended(text: str) -> str:
    shown = text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]} ..."
    return shown if shown.endswith((".", "!", "?")) else f"{shown}."
