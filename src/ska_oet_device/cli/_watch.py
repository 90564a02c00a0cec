"""`oet watch`: the procedures of a device as a live table, written anew when something has happened."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ._app import command
from ._shell import Shell
from ._text import one_line

if TYPE_CHECKING:
    from ..client import LifecycleEvent, Summary
    from ._attention import Items

_FOLLOWED = ("activeProcedureId", "activeProgress", "activeActivity", "State", "Status")


@command("watch")
def watch(shell: Shell) -> int:
    """Show the procedures as a live table, with progress bars, until Ctrl-C.

    It is written anew when something happens, and not otherwise. Without a terminal, or with --json, each change of a
    procedure is a line.

    Exit status: 130 ended by Ctrl-C, 5 unreachable.
    """
    from ._attention import attention

    with attention(shell, *_FOLLOWED) as items:
        view = _View(shell)
        if not shell.is_capable:
            return _as_lines(shell, view, items)
        return _in_place(shell, view, items)


class _View:
    """The procedures as they stand, and what the active one reports."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self.summaries: dict[int, Summary] = {}
        self.active = 0
        self.percent: float | None = None
        self.activity = ""
        self.status = ""
        self.look()

    def look(self) -> None:
        """Ask for all."""
        self.summaries = {each.id: each for each in self._shell.client.summaries()}

    def take(self, item: Any) -> int | None:
        """Take what was pushed; returns the id of the procedure that it concerns, None if it concerns none."""
        from ..client import LifecycleEvent
        from ._reach import has_been_away, value_of

        if isinstance(item, LifecycleEvent):
            self.summaries[item.process_uid] = self._shell.client.summary(item.process_uid)
            return item.process_uid
        value = value_of(item)
        if value is not None:
            return self._value(*value)
        if has_been_away(item):
            self.look()
        return None

    def _value(self, name: str, value: Any) -> int | None:
        if name == "activeProcedureId":
            if value != self.active:
                self.percent, self.activity = None, ""
            self.active = int(value or 0)
        elif name == "activeProgress":
            self.percent = None if value is None else float(value)
        elif name == "activeActivity":
            self.activity = one_line(value or "")
        elif name == "Status":
            self.status = one_line(value or "")
        return self.active if name in ("activeProgress", "activeActivity") and self.active in self.summaries else None

    def row(self, summary: Summary) -> dict[str, Any]:
        """Return a procedure as a line of JSON has it."""
        is_active = summary.id == self.active and not summary.state.is_terminal
        return {
            "id": summary.id,
            "run_id": summary.run_id,
            "script": summary.script,
            "state": str(summary.state),
            "time": summary.since,
            "progress": self.percent if is_active else None,
            "activity": self.activity if is_active else "",
            "reason": summary.reason,
        }


def _as_lines(shell: Shell, view: _View, items: Items) -> int:
    from ..client import LifecycleEvent
    from ._attention import Interrupt

    lines = _Lines(shell, view)
    while True:
        item = items.get()
        if isinstance(item, Interrupt):
            if item.ends:
                return item.status
            continue
        uid = view.take(item)
        if isinstance(item, LifecycleEvent):
            lines.state(item)
        elif uid is not None:
            lines.progress(uid)


class _Lines:
    """A line for each procedure, and then for each change of what is shown of one."""

    def __init__(self, shell: Shell, view: _View) -> None:
        self._shell = shell
        self._view = view
        self._told = {each.id: set(each.states) for each in view.summaries.values()}
        self._rows: dict[int, dict[str, Any]] = {}
        self._texts: dict[int, str] = {}
        for summary in view.summaries.values():
            self._write(view.row(summary))

    def state(self, event: LifecycleEvent) -> None:
        """Tell a state, unless the procedure was in it when all began; what is known of it may be newer already."""
        if (event.state, event.time) in self._told.get(event.process_uid, ()):
            return
        row = self._view.row(self._view.summaries[event.process_uid])
        now = {"state": str(event.state), "time": event.time, "reason": event.reason}
        done = {"progress": None, "activity": ""} if event.state.is_terminal else {}
        self._write({**row, **now, **done})

    def progress(self, uid: int) -> None:
        """Tell what the active procedure reports, with the state that was told last."""
        row = self._view.row(self._view.summaries[uid])
        before = self._rows.get(uid)
        if before is not None:
            self._write({**before, "progress": row["progress"], "activity": row["activity"]})

    def _write(self, row: dict[str, Any]) -> None:
        uid = row["id"]
        self._rows[uid] = row
        text = json.dumps(row) if self._shell.as_json else _line(self._shell, row)
        if text != self._texts.get(uid):
            self._texts[uid] = text
            self._shell.line(text)


def _line(shell: Shell, row: dict[str, Any]) -> str:
    parts = [shell.time(row["time"]), f"{row['id']:>4}", f"{row['state']:<12}", one_line(row["script"])]
    if row["progress"] is not None:
        parts.append(f"{row['progress']:.0f} %")
    parts += [row["activity"], one_line(row["reason"] or "")]
    return "  ".join(part for part in parts if part)


def _in_place(shell: Shell, view: _View, items: Items) -> int:
    from ._attention import Interrupt
    from ._in_place import console_of, make_live
    from ._watch_table import WatchTable

    console = console_of(shell)
    drawn = WatchTable(shell, console)
    with make_live(console, transient=False) as live:
        while True:
            live.update(drawn.of(view.status, [view.row(each) for each in view.summaries.values()]), refresh=True)
            item = items.get()
            while True:
                if isinstance(item, Interrupt):
                    if item.ends:
                        return item.status
                else:
                    view.take(item)
                if items.empty():
                    break
                item = items.get()
