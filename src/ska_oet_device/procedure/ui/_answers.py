"""What clients are told of procedures, events, requests and output: the objects of the contract, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from ..application import ArgCapture, CheckReport, CheckStep, ProcedureHistory, ProcedureSummary, RequestRecord
from ..environment import EnvironmentInfo
from ..history import LifecycleEvent, StoredRequest
from ..output import Page
from ..state import ProcedureState
from . import _shapes as shapes


def summary_data(summary: ProcedureSummary) -> shapes.Summary:
    """Return a ProcedureSummary as the contract writes it."""
    past = _past_data(summary.history)
    history: shapes.Past = {
        "process_states": past["process_states"],
        "stacktrace": summary.history.stacktrace,
        "exit": past["exit"],
        "dropped_starts": past["dropped_starts"],
    }
    return {**_procedure_data(summary), "history": history}


def brief_summary_data(summary: ProcedureSummary) -> shapes.BriefSummary:
    """Return a ProcedureSummary without its stack trace."""
    whole: Mapping[str, object] = {**_procedure_data(summary), "history": _past_data(summary.history)}
    return cast(shapes.BriefSummary, whole)


def _procedure_data(summary: ProcedureSummary) -> shapes.Procedure:
    return {
        "id": summary.id,
        "uri": summary.uri or "",
        "run_id": summary.run_id,
        "script": cast(shapes.Script, summary.script.as_data()),
        "provenance": cast("shapes.Provenance | None", summary.provenance),
        "script_args": [capture_data(capture) for capture in summary.script_args],
        "requested_by": [request_record_data(request) for request in summary.requested_by],
        "os_pid": summary.os_pid,
        "state": state_name(summary.state),
    }


def _past_data(history: ProcedureHistory) -> shapes.BriefPast:
    return {
        "process_states": [state_data(item) for item in history.process_states],
        "exit": cast("shapes.Exit | None", history.exit),
        "dropped_starts": [{"time": time, "reason": reason} for time, reason in history.dropped_starts],
    }


def state_name(state: ProcedureState) -> shapes.StateName:
    """Return the name of a state."""
    return cast(shapes.StateName, state.name)


def state_data(entered: tuple[ProcedureState, float]) -> tuple[shapes.StateName, float]:
    """Return a state and when it was entered as a summary's history tells them."""
    return state_name(entered[0]), entered[1]


def request_record_data(request: RequestRecord) -> shapes.Asked:
    """Return who asked for what as a summary tells it."""
    return {"command": request.command, "client": request.client, "user": request.user, "time": request.time}


def capture_data(capture: ArgCapture) -> shapes.Call:
    """Return a call's arguments as a summary tells them."""
    given = capture.fn_args.as_data()
    arguments: shapes.Arguments = {"args": given["args"], "kwargs": given["kwargs"]}
    if capture.shortened:
        arguments["shortened"], arguments["sha256"] = capture.shortened, capture.sha256 or None
    return {"fn": capture.fn, "fn_args": arguments, "time": capture.time}


def request_data(request: StoredRequest) -> shapes.Request:
    """Return a request as the command Requests shows it."""
    return {
        "number": request.number,
        "time": request.time,
        "command": request.command,
        "client": request.client,
        "user": request.user,
        "process_uid": request.process_uid,
        "answer": request.answer,
    }


def environment_data(info: EnvironmentInfo) -> shapes.EnvironmentShape:
    """Return an environment as the command Environments shows it."""
    return {
        "env_id": info.env_id,
        "state": cast(shapes.EnvironmentStateName, info.state.value),
        "size": info.size,
        "created": info.created,
        "last_used": info.last_used,
        "in_use": info.in_use,
        "description": info.description,
        "log": info.log,
        "reason": info.reason,
        "packages": list(info.packages),
    }


def check_data(report: CheckReport) -> shapes.Report:
    """Return the report of a check as the contract writes it."""
    return {
        "check_id": report.check_id,
        "complete": True,
        "ok": report.ok,
        "steps": [_step_data(step) for step in report.steps],
        "docstring": report.docstring,
        "functions": cast("dict[str, shapes.Function]", report.functions),
        "provenance": cast(shapes.Provenance, report.provenance),
    }


def _step_data(step: CheckStep) -> shapes.Step:
    return {"step": cast(shapes.StepName, step.step), "ok": step.ok, "reason": step.reason, "time": step.time}


def page_data(page: Page) -> shapes.OutputPage:
    """Return a page of output as the contract writes it."""
    return {
        "text": page.text,
        "offset": page.offset,
        "next_offset": page.next_offset,
        "complete": page.complete,
    }


def event_data(event: LifecycleEvent) -> shapes.Event:
    """Return a lifecycle event as the contract writes it."""
    return {
        "sequence": event.sequence,
        "process_uid": event.process_uid,
        "run_id": event.run_id,
        "previous": state_name(event.previous) if event.previous is not None else None,
        "state": state_name(event.state),
        "time": event.time,
        "reason": event.reason,
    }
