"""`oet watch`: the procedures of a device as a live table, written anew when something has happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._app import command
from ._shell import Shell
from ._text import one_line

if TYPE_CHECKING:
    from ..client import Summary
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
        from ._reach import summaries

        self.summaries = {each.id: each for each in summaries(self._shell.client)}

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
    from ._attention import Interrupt

    for summary in view.summaries.values():
        _line(shell, view.row(summary))
    while True:
        item = items.get()
        if isinstance(item, Interrupt):
            if item.ends:
                return item.status
            continue
        uid = view.take(item)
        if uid is not None:
            _line(shell, view.row(view.summaries[uid]))


def _line(shell: Shell, row: dict[str, Any]) -> None:
    if shell.as_json:
        shell.data(row)
        return
    parts = [shell.time(row["time"]), f"{row['id']:>4}", f"{row['state']:<12}", one_line(row["script"])]
    if row["progress"] is not None:
        parts.append(f"{row['progress']:.0f} %")
    parts += [row["activity"], one_line(row["reason"] or "")]
    shell.line("  ".join(part for part in parts if part))


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
