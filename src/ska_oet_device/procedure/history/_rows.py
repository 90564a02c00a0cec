"""Records as rows of the database, and rows as records."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Row, func

from ..state import ProcedureState
from . import _schema as schema
from ._records import LifecycleEvent, StoredCall, StoredProcedure, StoredRequest, readable

_JSON_FIELDS = ("script", "provenance", "exit")
_TEXT_FIELDS = ("stacktrace", "function", "uri")


def columns_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields of StoredProcedure as columns of its table."""
    columns = dict(values)
    for name in _JSON_FIELDS:
        if columns.get(name) is not None:
            columns[name] = _json(columns[name])
    for name in _TEXT_FIELDS:
        if name in columns:
            columns[name] = readable(columns[name])
    if "state" in columns:
        columns["state"] = int(columns["state"])
    return columns


def _json(value: Any) -> str:
    return json.dumps(value, default=repr)


def row_of_procedure(device: str, procedure: StoredProcedure, changed: float) -> dict[str, Any]:
    return columns_of(
        {
            "device": device,
            "id": procedure.id,
            "run_id": procedure.run_id,
            "uri": procedure.uri,
            "script": procedure.script,
            "provenance": procedure.provenance,
            "state": procedure.state,
            "function": procedure.function,
            "abort_of": procedure.abort_of,
            "changed": changed,
        }
    )


def row_of_lookup(device: str, procedure: StoredProcedure, changed: float) -> dict[str, Any]:
    return {
        "device": device,
        "id": procedure.id,
        "run_id": procedure.run_id,
        "created": procedure.states[0][1] if procedure.states else changed,
        "script_uri": uri_in(procedure.script),
        "stop_reason": stop_reason_in(procedure.exit),
    }


def uri_in(script: Mapping[str, Any]) -> str:
    return readable(str(script.get("script_uri", "")))


def stop_reason_in(exit_: Mapping[str, Any] | None) -> str | None:
    return readable((exit_ or {}).get("stop_reason"))


def row_of_event(device: str, event: LifecycleEvent) -> dict[str, Any]:
    return {
        "device": device,
        "sequence": event.sequence,
        "process_uid": event.process_uid,
        "run_id": event.run_id,
        "previous": int(event.previous) if event.previous is not None else None,
        "state": int(event.state),
        "time": event.time,
        "reason": event.reason,
    }


def row_of_call(device: str, process_uid: int, call: StoredCall, fn_args: str) -> dict[str, Any]:
    return {
        "device": device,
        "process_uid": process_uid,
        "fn": readable(call.fn),
        "fn_args": fn_args,
        "time": call.time,
    }


def row_of_request(device: str, request: StoredRequest) -> dict[str, Any]:
    return {
        "device": device,
        "number": request.number,
        "time": request.time,
        "command": request.command,
        "client": readable(request.client),
        "user": readable(request.user),
        "process_uid": request.process_uid,
        "answer": readable(request.answer),
    }


_READY = int(ProcedureState.READY)  # READY once more tells that a start was dropped


class CallRow(NamedTuple):
    """A call as it was read, the size of its arguments, and these if they were to be read."""

    fn: str
    time: float
    size: int
    fn_args: str | None


def procedure_of(
    row: Row[Any], events: Sequence[Row[Any]], calls: Iterable[CallRow], requests: Iterable[Row[Any]]
) -> StoredProcedure:
    """Return a procedure with all that belongs to it, each in its order."""
    return StoredProcedure(
        id=row.id,
        run_id=row.run_id,
        uri=row.uri,
        script=json.loads(row.script),
        provenance=json.loads(row.provenance) if row.provenance else None,
        state=ProcedureState(row.state),
        stacktrace=row.stacktrace,
        exit=json.loads(row.exit) if row.exit else None,
        os_pid=row.os_pid,
        function=row.function,
        abort_of=row.abort_of,
        states=tuple((ProcedureState(event.state), event.time) for event in events),
        dropped=tuple((event.time, event.reason or "") for event in events if event.previous == event.state == _READY),
        calls=tuple(StoredCall(item.fn, _arguments(item), item.time) for item in calls),
        requests=tuple(request_of(item) for item in requests),
    )


def _arguments(row: CallRow) -> dict[str, Any]:
    return json.loads(row.fn_args) if row.fn_args else {"args": [], "kwargs": {}, "shortened": row.size}


def event_of(row: Row[Any]) -> LifecycleEvent:
    previous = ProcedureState(row.previous) if row.previous is not None else None
    return LifecycleEvent(
        row.sequence, row.process_uid, row.run_id, previous, ProcedureState(row.state), row.time, row.reason
    )


_request = schema.request
_LONGEST_READ = 2000  # characters; earlier versions have kept whatever clients said
REQUEST_COLUMNS = (
    *(_request.c.number, _request.c.time, _request.c.command, _request.c.process_uid),
    *(func.substr(column, 1, _LONGEST_READ).label(column.name) for column in _request.c["client", "user", "answer"]),
)
"""What of a request is read: no text longer than anybody wants to see."""


def request_of(row: Row[Any]) -> StoredRequest:
    return StoredRequest(row.number, row.time, row.command, row.client, row.user, row.process_uid, row.answer)
