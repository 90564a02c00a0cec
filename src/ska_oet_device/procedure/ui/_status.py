"""State, Status and health of a device: what they are, and what they follow from."""

from __future__ import annotations

import logging
import time as clock
from dataclasses import dataclass

import tango

from ...duties import neglected
from ...logs import about, escape
from ..application import Failure, Notices, ProcedureSummary, ScriptExecutionService, Snapshot, sentence_on_abort
from ..link import MainStatus
from ..state import TERMINAL, ProcedureState
from ._devstring import cut, latin1
from ._health import Diagnosis, Health, diagnose

_log = logging.getLogger(__name__)

_LONGEST_REASON = 300  # characters in Status
_RUNNING, _UNKNOWN = ProcedureState.RUNNING, ProcedureState.UNKNOWN  # an enumeration is slow to look into
_SEVERITY = {tango.DevState.ALARM: logging.WARNING, tango.DevState.FAULT: logging.ERROR}


class DeviceStatus:
    """Looks at what State, Status and healthState follow from, and logs each change of them.

    :ivar standing: what the device's properties have to do with it
    :ivar store_problem: what is wrong with the store of environments or the folder of outputs; empty if nothing is
    """

    def __init__(self, service: ScriptExecutionService, main: MainStatus) -> None:
        self._service = service
        self._main = main
        self._diagnosis: Diagnosis | None = None
        self.standing = Standing()
        self.store_problem = ""

    def diagnosis(self) -> Diagnosis:
        """Return how healthy this server is at this moment.  Any thread."""
        return diagnose(self._main, self._service.history.problem, self.store_problem, neglected())

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the health is what it was found to be at the last look; empty if all is well."""
        return self._diagnosis.reasons if self._diagnosis is not None else ()

    def look(self) -> Health:
        """Return the health; until the next look State and Status follow from it.  Init, and the thread of events."""
        before, self._diagnosis = self._diagnosis, self.diagnosis()
        if before is not None and before != self._diagnosis:
            self._log_health(self._diagnosis)
        return self._diagnosis.health

    def _log_health(self, found: Diagnosis) -> None:
        level = logging.INFO if found.health == Health.OK else logging.WARNING
        reasons = " ".join(found.reasons) or "all is well"
        _log.log(level, "healthState is %s: %s", found.health.name, reasons, extra=about(self._service.device))

    def show(self, device: tango.server.Device, snapshot: Snapshot) -> None:
        """Set State and Status of the device object."""
        diagnosis = self._diagnosis or self.diagnosis()
        state, status = device_state(snapshot, diagnosis, self.standing, self._service.notices())
        is_another, says_another = device.get_state() != state, device.get_status() != status
        device.set_state(state)
        device.set_status(status)
        if is_another or says_another:
            level = _SEVERITY.get(state, logging.INFO) if is_another else logging.DEBUG
            _log.log(level, "State is %s: %s", state, status, extra=about(self._service.device))


@dataclass(frozen=True)
class Standing:
    """What the device's properties, and what they name, have to do with State and Status.

    :param problems: sentences on what a person must mend
    :param remarks: sentences for Status only
    :param nothing_runs: there is no place that a script could come from
    :param alarm_on_failure: State is ALARM from a failure to the next start
    :param while_running: State while a procedure is RUNNING
    """

    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    nothing_runs: bool = False
    alarm_on_failure: bool = False
    while_running: tango.DevState = tango.DevState.RUNNING


def device_state(
    snapshot: Snapshot, diagnosis: Diagnosis, standing: Standing, notices: Notices
) -> tuple[tango.DevState, str]:
    """Return the device's State, and in plain sentences why."""
    alive = [summary for summary in snapshot.living if summary.state not in TERMINAL]
    running = next((summary for summary in alive if summary.state is _RUNNING), None)
    is_running = f"Procedure {running.id} is RUNNING ({running.script.script_uri})." if running else ""
    failure = snapshot.failure
    is_told = failure is not None and notices.abort_failed == sentence_on_abort(failure)
    failed = _failed(failure) if failure is not None and not is_told else ""
    notes = [is_running, failed, *standing.problems, *standing.remarks, *notices.sentences, *diagnosis.reasons]
    unknown = [summary for summary in snapshot.living if summary.state is _UNKNOWN]
    if diagnosis.supervisor_gone or standing.nothing_runs:
        state, sentence = tango.DevState.FAULT, "No script can be run."
    elif unknown:
        state, sentence = tango.DevState.ALARM, " ".join(map(_unkillable, unknown))
    elif diagnosis.health is Health.FAILED or diagnosis.store_full:
        state, sentence = tango.DevState.ALARM, "This server cannot do its job as it should."
    elif notices.abort_failed:
        state, sentence = tango.DevState.ALARM, notices.abort_failed
    elif notices.clean_up_failed:
        state, sentence = tango.DevState.ALARM, notices.clean_up_failed
    elif standing.problems:
        state, sentence = tango.DevState.ALARM, "The configuration of this device needs a person."
    elif failed and standing.alarm_on_failure:
        state, sentence = tango.DevState.ALARM, failed
    elif running is not None:
        state, sentence = standing.while_running, is_running
    else:
        count = len(alive)
        prepared = f"{count} procedure{'s are' if count != 1 else ' is'} prepared" if count else "no procedure is alive"
        state, sentence = tango.DevState.ON, f"Ready: {prepared}."
    sentences = map(_line, [sentence, *(note for note in notes if note and note != sentence)])
    return state, cut(latin1(" ".join(sentences)))


def _line(sentence: str) -> str:
    """Return a sentence in one line: a script's name, or what it raised, must not look like a sentence of ours."""
    return sentence if sentence.isprintable() else "".join(c if c.isprintable() else escape(c) for c in sentence)


def _unkillable(summary: ProcedureSummary) -> str:
    pids = (summary.history.exit or {}).get("survivors") or []
    which = f"process {', '.join(map(str, pids))}" if pids else "its process"
    return (
        f"Procedure {summary.id} could not be killed and needs a person: the owner of {which}, or root, must kill it."
        " A restart of the whole server lets go of the turn, but does not end what is left."
    )


def _failed(failure: Failure) -> str:
    """Return what is said of a failure until the next start: which procedure, since when, and why."""
    since = clock.strftime("%Y-%m-%dT%H:%M:%SZ", clock.gmtime(failure.time))
    reason = next((line.strip() for line in failure.reason.splitlines() if line.strip()), "no reason was given")
    return f"Procedure {failure.process_uid} ({failure.script_uri}) {failure.state.name} at {since}: {_ended(reason)}"


def _ended(text: str) -> str:
    shown = text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]} ..."
    return shown if shown.endswith((".", "!", "?")) else f"{shown}."
