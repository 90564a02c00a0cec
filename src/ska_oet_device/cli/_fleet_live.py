"""`oet fleet --follow`: a table in place, or a line for each change."""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ._attention import Interrupt, Items, signals_into
from ._fleet import check_any
from ._fleet_table import HEAD, cells, data, fitting, line, summary
from ._shell import Shell
from ._status import Ended, Status, say
from ._table import table

if TYPE_CHECKING:
    from ..client import DeviceReport

_LEAST = 0.1  # seconds from one drawing to the next
_OTHERS = 5  # lines of the terminal that are no rows


def follow_fleet(shell: Shell, patterns: list[str], timeout: float) -> int:
    """Show the devices until somebody ends it; returns the exit status.

    :raises UnreachableError: the Tango database does not answer when it begins
    :raises Ended: there is no such device
    """
    from ..client import FleetFeed

    items = Items()
    feed = FleetFeed(items.put, patterns, timeout=timeout)
    with signals_into(items):
        names = feed.begin()
        check_any(names, patterns)
        with contextlib.closing(feed):
            view = _View(names)
            return _in_place(shell, view, items) if shell.is_capable else _as_lines(shell, view, items)


class _View:
    """The devices as they are known to be."""

    def __init__(self, names: Iterable[str]) -> None:
        self._waiting = set(names)
        self._reports: dict[str, DeviceReport] = {}
        self.trouble = ""

    def take(self, item: Any) -> None:
        """Take what the feed tells."""
        from ..client import DatabaseAway, Presence

        if isinstance(item, DatabaseAway):
            self.trouble = item.reason
            return
        self._waiting.discard(item.device)
        if item.presence is Presence.REMOVED:
            self._reports.pop(item.device, None)
        else:
            self._reports[item.device] = item

    @property
    def reports(self) -> list[DeviceReport]:
        """All that have been asked, in the natural order of their names."""
        from ..client import natural

        return sorted(self._reports.values(), key=lambda each: natural(each.device))

    @property
    def summary(self) -> str:
        """How many there are, and how they are."""
        return summary(self._reports.values(), len(self._waiting))


def _as_lines(shell: Shell, view: _View, items: Items) -> int:
    from ..client import DatabaseAway

    while True:
        item = items.get()
        if isinstance(item, Interrupt):
            if item.ends:
                return item.status
            continue
        view.take(item)
        if isinstance(item, DatabaseAway):
            _tell_trouble(shell, item.reason)
        elif shell.as_json:
            shell.data(data(item))
        else:
            shell.line(line(shell, item, time.time()))


def _tell_trouble(shell: Shell, reason: str) -> None:
    """Say on standard error that new devices are not seen, and when they are again."""
    if reason:
        text = f"{reason}; which devices come and go is not seen meanwhile"
        say(Ended(Status.UNREACHABLE, "unreachable", text), shell.program, as_json=shell.as_json)
    elif not shell.as_json:
        say(Ended(Status.DONE, "", "the Tango database answers again"), shell.program, as_json=False)


def _in_place(shell: Shell, view: _View, items: Items) -> int:
    from rich.text import Text

    from ._in_place import console_of, make_live

    console = console_of(shell)
    with make_live(console, transient=False) as live:
        while True:
            lines = _lines(shell, view, console.width, max(1, console.height - _OTHERS))
            live.update(Text("\n").join(Text.from_ansi(each) for each in lines), refresh=True)
            for item in _until(items, time.monotonic() + _LEAST):
                if not isinstance(item, Interrupt):
                    view.take(item)
                elif item.ends:
                    return item.status


def _until(items: Items, moment: float) -> Iterator[Any]:
    """Yield an item, whenever it comes, and what follows it until a moment."""
    yield items.get()
    with contextlib.suppress(queue.Empty):
        while True:
            yield items.get(timeout=max(0.0, moment - time.monotonic()))


def _lines(shell: Shell, view: _View, width: int, room: int) -> list[str]:
    """Return what the terminal shows: a line for each of as many devices as it has room for, and how many there are."""
    reports = view.reports
    shown = _most_wanted(reports, room)
    head, rows = fitting(HEAD, [cells(shell, each) for each in shown], width)
    fixed = sum(max(len(row[at]) for row in (head, *rows)) + 2 for at in range(len(head) - 1))
    cut = [[*row[:-1], _cut(row[-1], max(1, width - fixed))] for row in rows]
    lines = list(table(head, cut, None, shell.coloured))
    hidden = len(reports) - len(shown)
    lines += [f"and {hidden} more: oet fleet"] if hidden else []
    return [*lines, "", view.summary, *([view.trouble] if view.trouble else [])]


def _most_wanted(reports: list[DeviceReport], room: int) -> list[DeviceReport]:
    """Return as many as there is room for: those that are not well first, then those that run a script."""
    if len(reports) <= room:
        return reports
    by_need = sorted(reports, key=lambda each: (each.is_well, each.procedure_state != "RUNNING"))
    kept = set(map(id, by_need[:room]))
    return [each for each in reports if id(each) in kept]


def _cut(text: str, columns: int) -> str:
    return text if len(text) <= columns else f"{text[: columns - 1]}…"
