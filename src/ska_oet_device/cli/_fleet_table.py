"""How a device of the fleet is written: as a row, as a line, as an object; and how many are well."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len

from ._shell import Shell
from ._text import one_line

if TYPE_CHECKING:
    from ..client import DeviceReport

HEAD = (
    *("DEVICE", "HEALTH", "STATE", "PROCEDURE", "PROGRESS", "SINCE"),
    *("SCRIPT", "VERSION", "SERVER", "HOST", "REMARK"),
)
_LEFT_OUT_FIRST = ("SERVER", "VERSION", "SINCE", "HOST", "SCRIPT", "PROGRESS", "STATE")
_LEAST_REMARK = 30  # columns
_GAP = 2
_WORDS = {"NOT_RUNNING": "NOT RUNNING", "NO_ANSWER": "NO ANSWER", "REMOVED": "REMOVED"}
_KEYS = (
    *("device", "presence", "health", "state", "reason", "procedure", "procedure_state", "since", "script"),
    *("progress", "activity", "version", "server", "host", "started"),
)


def health_word(report: DeviceReport) -> str:
    """Return the health of a device, or why there is none, in a word."""
    return _WORDS.get(str(report.presence)) or report.health or "UNKNOWN"


def cells(shell: Shell, report: DeviceReport) -> list[str]:
    """Return a row for `HEAD`."""
    return [
        report.device,
        health_word(report),
        report.state or "",
        f"{report.procedure} {report.procedure_state}" if report.procedure else "",
        _percent(report),
        "" if report.since is None else shell.time(report.since),
        one_line(report.script),
        one_line(report.version or ""),
        report.server,
        report.host,
        one_line(report.reason or report.activity),
    ]


def line(shell: Shell, report: DeviceReport, now: float) -> str:
    """Return a change as a line."""
    procedure = [str(report.procedure), report.procedure_state, report.script] if report.procedure else []
    parts = [shell.time(now), report.device, f"{health_word(report):<8}", report.state or "", *procedure]
    parts += [_percent(report), report.reason or report.activity]
    return "  ".join(one_line(part) if part is not parts[2] else part for part in parts if part).rstrip()


def data(report: DeviceReport) -> dict[str, Any]:
    """Return a device as an object of JSON; docs/reference/contract.md says what its keys mean."""
    found = {name: getattr(report, name) for name in _KEYS}
    return {**found, "presence": str(report.presence)}


def summary(found: Iterable[DeviceReport], waiting: int = 0) -> str:
    """Return how many devices there are, and how they are.

    :param waiting: how many more are being asked
    """
    reports = list(found)
    words = collections.Counter(map(health_word, reports))
    order = ("OK", "DEGRADED", "FAILED", "UNKNOWN", "NO ANSWER", "NOT RUNNING")
    parts = [f"{words[word]} {word}" for word in order if words[word]]
    parts += [f"{waiting} being asked"] if waiting else []
    running = sum(each.procedure_state == "RUNNING" for each in reports)
    number = len(reports) + waiting
    text = f"{number} device{'' if number == 1 else 's'}: {', '.join(parts) or 'none'}"
    return f"{text}; {running} RUNNING a script" if running else text


def fitting(head: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> tuple[list[str], list[list[str]]]:
    """Return head and rows without the columns that a terminal has no room for; all where it is none.

    :param width: of the terminal
    """
    kept = list(range(len(head)))
    for name in _LEFT_OUT_FIRST:
        if width is None or _width(head, rows, kept) <= width:
            break
        kept.remove(head.index(name))
    return [head[at] for at in kept], [[row[at] for at in kept] for row in rows]


def _width(head: Sequence[str], rows: Sequence[Sequence[str]], kept: Sequence[int]) -> int:
    """Return the columns that a table takes whose last column is as narrow as it may be."""
    widths = [max(cell_len(row[at]) for row in (head, *rows)) for at in kept]
    return sum(widths[:-1]) + _GAP * (len(widths) - 1) + min(widths[-1], _LEAST_REMARK)


def _percent(report: DeviceReport) -> str:
    return "" if report.progress is None else f"{report.progress:.0f} %"
