"""What clients are told of procedures, events, requests and output: the objects of the contract, as plain data."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..application import ArgCapture, CheckReport, ProcedureSummary, RequestRecord
from ..history import LifecycleEvent, StoredRequest
from ..output import Page
from ..state import ProcedureState


def summary_data(summary: ProcedureSummary, *, stacktrace: bool = True) -> dict[str, Any]:
    """Return a ProcedureSummary as the contract writes it."""
    history: dict[str, Any] = {
        "process_states": [state_data(item) for item in summary.history.process_states],
        "stacktrace": summary.history.stacktrace,
        "exit": summary.history.exit,
        "dropped_starts": [{"time": time, "reason": reason} for time, reason in summary.history.dropped_starts],
    }
    if not stacktrace:
        del history["stacktrace"]
    return {
        "id": summary.id,
        "uri": summary.uri,
        "run_id": summary.run_id,
        "script": summary.script.as_data(),
        "provenance": summary.provenance,
        "script_args": [capture_data(capture) for capture in summary.script_args],
        "history": history,
        "requested_by": [request_record_data(request) for request in summary.requested_by],
        "os_pid": summary.os_pid,
        "state": summary.state.name,
    }


def state_data(entered: tuple[ProcedureState, float]) -> list[Any]:
    """Return a state and when it was entered as a summary's history tells them."""
    return [entered[0].name, entered[1]]


def request_record_data(request: RequestRecord) -> dict[str, Any]:
    """Return who asked for what as a summary tells it."""
    return {"command": request.command, "client": request.client, "user": request.user, "time": request.time}


def capture_data(capture: ArgCapture) -> dict[str, Any]:
    """Return a call's arguments as a summary tells them."""
    arguments = capture.fn_args.as_data()
    if capture.shortened:
        arguments |= {"shortened": capture.shortened, "sha256": capture.sha256 or None}
    return {"fn": capture.fn, "fn_args": arguments, "time": capture.time}


def request_data(request: StoredRequest) -> dict[str, Any]:
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


def check_data(report: CheckReport) -> dict[str, Any]:
    """Return the report of a check as the contract writes it."""
    return {
        "check_id": report.check_id,
        "complete": True,
        "ok": report.ok,
        "steps": [dataclasses.asdict(step) for step in report.steps],
        "docstring": report.docstring,
        "functions": report.functions,
        "provenance": report.provenance,
    }


def page_data(page: Page) -> dict[str, Any]:
    """Return a page of output as the contract writes it."""
    return {
        "text": page.text,
        "offset": page.offset,
        "next_offset": page.next_offset,
        "complete": page.complete,
    }


def event_data(event: LifecycleEvent) -> dict[str, Any]:
    """Return a lifecycle event as the contract writes it."""
    return {
        "sequence": event.sequence,
        "process_uid": event.process_uid,
        "run_id": event.run_id,
        "previous": event.previous.name if event.previous is not None else None,
        "state": event.state.name,
        "time": event.time,
        "reason": event.reason,
    }
