"""What operators read of procedures: the table of them, and all that is to be said of one."""

from __future__ import annotations

import time as clock
from collections.abc import Iterator
from urllib.parse import unquote

from ..application import ProcedureSummary, Snapshot
from ..script import FileSystemScript
from ..state import ProcedureState
from ._devstring import cut, latin1

HEAD = ("id", "script", "state", "since", "duration", "by", "note")
"""The first row of the table."""

MOST_ROWS = 100
"""Procedures in the table."""

_LONGEST_SCRIPT, _LONGEST_NAME, _LONGEST_NOTE = 80, 60, 200  # characters of a cell
_Row = tuple[str, ...]


def table_of(snapshot: Snapshot) -> tuple[_Row, ...]:
    """Return the table: its head, and the procedures that live and the newest others, newest first."""
    return (HEAD, *map(_row, _shown(snapshot)))


def details_of(summary: ProcedureSummary) -> str:
    """Return what an operator has to know of a procedure, in lines: what, who, since when, why, and where."""
    state, since = _now(summary)
    ran = _duration(summary)
    asked = summary.requested_by[0] if summary.requested_by else None
    lines = [
        f"procedure {summary.id}: {summary.script.script_uri}",
        f"{state.name} since {_time(since)}{f', ran {ran}' if ran else ''}",
        f"{asked.command} by {_who(summary)} at {_time(asked.time)}" if asked is not None else "",
        _note(summary),
        *(f"start dropped at {_time(time)}: {reason}" for time, reason in summary.history.dropped_starts[-3:]),
        summary.history.stacktrace or "",
    ]
    return cut(latin1("\n".join(filter(None, lines))))


def _shown(snapshot: Snapshot) -> Iterator[ProcedureSummary]:
    """Yield the rows; no more is looked at than it takes, since HistoryLength may be 100,000."""
    living = {summary.id for summary in snapshot.living[-MOST_ROWS:]}
    room = MOST_ROWS - len(living)
    for summary in reversed(snapshot.summaries):
        if not living and not room:
            return
        if summary.id in living:
            living.remove(summary.id)
            yield summary
        elif room:
            room -= 1
            yield summary


def _row(summary: ProcedureSummary) -> _Row:
    state, since = _now(summary)
    note = _note(summary) or next((reason for _, reason in reversed(summary.history.dropped_starts)), "")
    return (
        str(summary.id),
        _cell(_script(summary)[-_LONGEST_SCRIPT:], _LONGEST_SCRIPT),
        state.name,
        _time(since),
        _duration(summary),
        _cell(_who(summary), _LONGEST_NAME),
        _cell(note, _LONGEST_NOTE),
    )


def _script(summary: ProcedureSummary) -> str:
    """Return the name of a script as a person knows it."""
    uri = summary.script.script_uri
    return unquote(uri[len(FileSystemScript.prefix) :]) if uri.startswith(FileSystemScript.prefix) else uri


def _now(summary: ProcedureSummary) -> tuple[ProcedureState, float]:
    states = summary.history.process_states
    return summary.state, states[-1][1] if states else 0.0


def _duration(summary: ProcedureSummary) -> str:
    """Return how long a procedure has run, from its first call to its end; "" of one that lives, or never did.

    It is not to be another one without an event.
    """
    if not summary.state.is_final:
        return ""
    states = summary.history.process_states
    began = next((time for state, time in states if state is ProcedureState.RUNNING), None)
    return _seconds(states[-1][1] - began) if began is not None else ""


def _seconds(seconds: float) -> str:
    if seconds < 60:
        return f"{max(seconds, 0.0):.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def _time(seconds: float) -> str:
    return clock.strftime("%Y-%m-%d %H:%M:%SZ", clock.gmtime(seconds))


def _who(summary: ProcedureSummary) -> str:
    if not summary.requested_by:
        return ""
    first = summary.requested_by[0]
    return first.user or first.client


def _note(summary: ProcedureSummary) -> str:
    """Return why a procedure is what it is; of an abort script, that it is one."""
    is_abort = bool(summary.requested_by) and summary.requested_by[0].command == "Stop"
    ending = summary.history.exit or {}
    reason, why = str(ending.get("reason") or ""), str(ending.get("stop_reason") or "")
    parts = ("abort script" if is_abort else "", reason, why if why not in reason else "")
    return "; ".join(filter(None, parts))


def _cell(text: str, most: int) -> str:
    line = latin1("".join(c if c.isprintable() else " " for c in " ".join(text.split())))
    return line if len(line) <= most else f"{line[: most - 3]}..."
