"""How things look in a shell: lines and tables instead of JSON."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..client import Call, OetClient, OetError, Procedure, ProcedureState, RequestedBy, Summary

_LONGEST = 60  # characters of a cell, but for the last one of a row
_NEWEST = 12  # entries of a list that are shown


class Procedures(list[Summary]):
    """What is known of some procedures; a shell shows a table.

    :param left_out: how many older ones there are
    """

    def __init__(self, found: Sequence[Summary] = (), left_out: int = 0) -> None:
        super().__init__(found)
        self.left_out = left_out

    def __str__(self) -> str:
        if not self:
            return "no procedure yet"
        rows = [("ID", "SCRIPT", "STATE", "SINCE", "REASON"), *(_row(summary) for summary in self)]
        more = [f"and {self.left_out} before them: %oet_list -a"] if self.left_out else []
        return "\n".join([*table(rows), *more])

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))


@dataclass(frozen=True)
class Stopped:
    """Whom a Stop has stopped (None: whichever was the active one), and the abort script, if one follows.

    :param ended: what was known of it, if it had ended before
    """

    procedure: Procedure | None
    abort_script: Procedure | None
    ended: Summary | None = None

    def __str__(self) -> str:
        stopped = self.procedure
        which = f"procedure {stopped.id} ({stopped.script})" if stopped else "the active one"
        text = f"{which} is being stopped"
        if self.ended is not None:
            text = f"{which} had ended already: {self.ended.state}, {_one_line(self.ended.reason or '')}"
        follows = self.abort_script
        return f"{text}; procedure {follows.id} ({follows.script}) follows" if follows else text

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))


@dataclass(frozen=True)
class Description:
    """All that one wants to know of a procedure; `summary` has it as an object."""

    summary: Summary

    def __str__(self) -> str:
        return "\n".join(_described(self.summary))

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return lines with columns that are aligned; the last column takes what room it needs."""
    shown = [[*(_cut(cell, _LONGEST) for cell in row[:-1]), row[-1]] for row in rows]
    widths = [max(len(row[column]) for row in shown) for column in range(len(shown[0]) - 1)]
    return ["  ".join([*map(str.ljust, row, widths), row[-1]]).rstrip() for row in shown]


def line_of(summary: Summary, percent: float | None = None, activity: str = "") -> str:
    """Return a procedure in one line."""
    parts = [f"procedure {summary.id}", summary.script, str(summary.state)]
    if summary.state is ProcedureState.RUNNING and percent is not None:
        parts += [f"{percent:.0f} %", activity]
    elif dropped_start(summary):
        parts.append(f"not started: {_one_line(dropped_start(summary))}")
    elif summary.reason:
        parts.append(_one_line(summary.reason))
    return "  ".join(part for part in parts if part)


def dropped_start(summary: Summary) -> str:
    """Return why the newest start came to nothing; empty where none was dropped, or another one was asked for since."""
    is_newest = [state for state, _ in summary.states[-2:]] == [ProcedureState.READY] * 2
    return summary.dropped_starts[-1] if is_newest and summary.dropped_starts else ""


def clock(seconds: float) -> str:
    """Return a time of the day, with the date if it is not of today; local time."""
    then = time.localtime(seconds)
    return time.strftime("%H:%M:%S" if then[:3] == time.localtime()[:3] else "%Y-%m-%d %H:%M:%S", then)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _row(summary: Summary) -> tuple[str, ...]:
    return str(summary.id), summary.script, str(summary.state), clock(summary.since), _one_line(summary.reason or "")


def _described(summary: Summary) -> Iterable[str]:
    provenance = summary.data.get("provenance") or {}
    rows = [
        ("state", f"{summary.state} since {clock(summary.since)}"),
        ("reason", _one_line(summary.reason or "")),
        ("result", "" if summary.result is None else repr(summary.result)),
        *(("called", f"{clock(call.time)}  {_call(call)}") for call in summary.calls[-_NEWEST:]),
        *(("asked by", f"{clock(asked.time)}  {_asked(asked)}") for asked in summary.requested_by[-_NEWEST:]),
        ("states", _states(summary)),
        ("file", str(provenance.get("path") or "")),
        ("commit", str(provenance.get("git_commit") or "")),
        ("run id", summary.run_id),
    ]
    yield f"procedure {summary.id}  {summary.script}"
    yield from (f"  {line}" for line in table([row for row in rows if row[1]]))
    if summary.stacktrace:
        yield from ("", summary.stacktrace.rstrip())


def _states(summary: Summary) -> str:
    """Return the newest states, and how many seconds each began after the procedure was asked for."""
    return ", ".join(f"{state} {when - summary.created:.2f} s" for state, when in summary.states[-_NEWEST:])


def _call(call: Call) -> str:
    values = [*map(repr, call.args), *(f"{name}={value!r}" for name, value in call.kwargs.items())]
    return f"{call.function}({_cut(', '.join(values), 4 * _LONGEST)})"


def _asked(asked: RequestedBy) -> str:
    return f"{asked.command}: {asked.user or 'unknown'} ({asked.client})"


def _show_procedure(procedure: Procedure, printer: Any, cycle: bool) -> None:
    """Show a procedure as it is now."""
    try:
        progress = procedure.progress
        text = line_of(procedure.summary(), progress.percent, progress.activity)
    except OetError as error:
        text = f"procedure {procedure.id}  {procedure.script}  ({_one_line(str(error))})"
    printer.text(text)


def _show_summary(summary: Summary, printer: Any, cycle: bool) -> None:
    printer.text(line_of(summary))


def _show_client(client: OetClient, printer: Any, cycle: bool) -> None:
    """Show a device as it is now."""
    try:
        health = client.health()
        text = f"{health.health}  {health.state}: {health.status}"
    except OetError as error:
        text = _one_line(str(error))
    printer.text(f"{client.device}  {text}")


DISPLAYED = {Procedure: _show_procedure, Summary: _show_summary, OetClient: _show_client}
