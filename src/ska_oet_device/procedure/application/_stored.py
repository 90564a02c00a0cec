"""Between summaries, which clients see, and records, which the history keeps."""

from __future__ import annotations

from typing import Any

from ..history import StoredCall, StoredProcedure
from ..script import ProcedureInput, script_from_data
from ..state import ProcedureState
from ._model import ArgCapture, ProcedureHistory, ProcedureSummary, RequestRecord


def stored(summary: ProcedureSummary, abort_of: int | None) -> StoredProcedure:
    calls = tuple(StoredCall(item.fn, item.fn_args.as_data(), item.time) for item in summary.script_args)
    return StoredProcedure(
        id=summary.id,
        run_id=summary.run_id,
        uri=summary.uri or "",
        script=summary.script.as_data(),
        provenance=summary.provenance,
        state=summary.state,
        abort_of=abort_of,
        states=summary.history.process_states,
        calls=calls,
    )


def stored_of_living(item: dict[str, Any], uri: str) -> StoredProcedure:
    states = tuple((ProcedureState(state), float(time)) for state, time in item["states"])
    return StoredProcedure(
        id=item["process_uid"],
        run_id=item["run_id"],
        uri=uri,
        script=item["script"],
        provenance={"path": item["path"], "sha256": None, "git_commit": None, "environment": None},
        state=states[-1][0],
        os_pid=item["os_pid"],
        states=states,
        dropped=tuple((float(time), str(reason)) for time, reason in item["dropped"]),
    )


def summary_of(stored: StoredProcedure) -> ProcedureSummary:
    return ProcedureSummary(
        id=stored.id,
        script=script_from_data(stored.script),
        script_args=tuple(
            ArgCapture(
                call.fn,
                ProcedureInput.from_data(call.fn_args),
                call.time,
                call.fn_args.get("shortened", 0),
                call.fn_args.get("sha256", ""),
            )
            for call in stored.calls
        ),
        history=ProcedureHistory(stored.states, stored.stacktrace, stored.exit, stored.dropped),
        state=stored.state,
        uri=stored.uri,
        run_id=stored.run_id,
        provenance=stored.provenance,
        requested_by=tuple(
            RequestRecord(item.command, item.client, item.user, item.time)
            for item in stored.requests
            if item.answer.startswith("accepted")
        ),
        os_pid=stored.os_pid if not stored.state.is_final else None,
    )
