"""The table of `oet watch`: as many procedures as the terminal has room for, those that live first to stay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ._in_place import bar
from ._shell import Shell
from ._text import one_line

_TERMINAL = ("COMPLETE", "STOPPED", "FAILED", "UNKNOWN")
_WIDE = 72  # columns, from which on all is in one row
_OTHERS = 4  # lines that are no rows: head, Status, how many more
Row = dict[str, Any]


class WatchTable:
    """Draws rows as they are given by the view."""

    def __init__(self, shell: Shell, console: Console) -> None:
        self._shell = shell
        self._console = console

    def of(self, status: str, rows: Sequence[Row]) -> RenderableType:
        """Return the table, oldest first."""
        is_wide = self._console.width >= _WIDE
        room = max(1, (self._console.height - _OTHERS) // (1 if is_wide else 2))
        shown = _most_wanted(rows, room)
        table = self._wide(shown) if is_wide else self._narrow(shown)
        hidden = len(rows) - len(shown)
        parts: list[RenderableType] = [Text(status, overflow="fold"), table]
        if hidden:
            parts.append(Text(f"and {hidden} more: oet list"))
        return Group(*parts)

    def _wide(self, rows: Sequence[Row]) -> Table:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("ID", "STATE", "SINCE"):
            table.add_column(name, no_wrap=True)
        table.add_column("SCRIPT", overflow="fold")
        table.add_column("PROGRESS", no_wrap=True)
        table.add_column("", overflow="fold")
        for row in rows:
            table.add_row(
                str(row["id"]),
                self._state(row),
                self._shell.time_of_day(row["time"]),
                Text(one_line(row["script"])),
                "" if row["progress"] is None else bar(row["progress"], 16),
                Text(_remark(row)),
            )
        return table

    def _narrow(self, rows: Sequence[Row]) -> Table:
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("ID", no_wrap=True)
        table.add_column("STATE", no_wrap=True)
        table.add_column("SCRIPT", overflow="fold")
        for row in rows:
            table.add_row(str(row["id"]), self._state(row), Text(one_line(row["script"])))
            if row["progress"] is not None or _remark(row):
                drawn = "" if row["progress"] is None else bar(row["progress"], 12)
                table.add_row("", drawn, Text(_remark(row)))
        return table

    def _state(self, row: Row) -> Text:
        return Text.from_ansi(self._shell.coloured(row["state"]))


def _most_wanted(rows: Sequence[Row], room: int) -> list[Row]:
    """Return as many as there is room for: those that live, and the newest that have ended; in their order."""
    by_need = sorted(rows, key=lambda row: (row["state"] in _TERMINAL, -row["id"]))
    return sorted(by_need[:room], key=lambda row: int(row["id"]))


def _remark(row: Row) -> str:
    if row["progress"] is not None:
        return f"{row['progress']:.0f} % {row['activity']}".rstrip()
    reason = one_line(row["reason"] or "")
    return "" if reason == "completed" else reason
