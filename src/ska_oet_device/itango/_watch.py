"""Following a procedure in the shell: its progress in one line that is drawn anew, and what it prints."""

from __future__ import annotations

import queue
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..client import LifecycleEvent, Procedure, ProcedureState, Summary
from ._display import dropped_start, line_of

_FOLLOWED = ("activeProcedureId", "activeProgress", "activeActivity")
_BAR = 20  # characters
_REDRAWN_AFTER = 1.0  # seconds without an event until the time is drawn anew; nothing is asked of the device


@contextmanager
def _pushed(procedure: Procedure) -> Iterator[queue.SimpleQueue[Any]]:
    """Give what the device pushes: lifecycle events, the values that tell of progress, and reconnections."""
    with procedure._client._items(*_FOLLOWED) as items:
        yield items


class Watch:
    """Shows a procedure until it has ended; in a terminal one line, elsewhere a line for each news."""

    def __init__(self, procedure: Procedure) -> None:
        self._procedure = procedure
        self._in_place = sys.stdout.isatty()
        self._last = ""
        self._active = 0
        self._percent: float | None = None
        self._activity = ""

    def until_end(self) -> Summary:
        """Draw until it has ended, or a start came to nothing; returns what is known of it then.

        :raises KeyboardInterrupt: Ctrl-C, which leaves the script as it is
        :raises OetError: the device cannot be asked
        """
        with _pushed(self._procedure) as items:
            summary = self._look()
            while not (summary.state.is_terminal or dropped_start(summary)):
                self._draw(summary)
                try:
                    item = items.get(timeout=_REDRAWN_AFTER if self._in_place else None)
                except queue.Empty:
                    continue
                if self._changes(item):
                    summary = self._procedure.summary()
            return summary

    def end(self, text: str) -> None:
        """Write the last line in the place of the one that was drawn."""
        print(f"\r\x1b[K{text}" if self._in_place else text, flush=True)

    def _look(self) -> Summary:
        progress = self._procedure.progress
        self._percent, self._activity = progress.percent, progress.activity
        summary = self._procedure.summary()
        self._active = self._procedure.id if summary.state is ProcedureState.RUNNING else 0
        return summary

    def _changes(self, item: Any) -> bool:
        """Take what was pushed; say whether the procedure has to be looked at anew."""
        if isinstance(item, LifecycleEvent):
            return item.process_uid == self._procedure.id
        attribute = getattr(item, "attribute", "")
        if attribute == "activeProcedureId":
            self._active = int(item.value or 0)
        elif attribute == "activeProgress":
            self._percent = item.value
        elif attribute == "activeActivity":
            self._activity = item.value or ""
        return not attribute  # it could not be reached for a while

    def _draw(self, summary: Summary) -> None:
        is_active = self._active == self._procedure.id and summary.state is ProcedureState.RUNNING
        percent, activity = (self._percent, self._activity) if is_active else (None, "")
        if not self._in_place:
            self._say(line_of(summary, percent, activity), f"{summary.state} {activity}")
            return
        width = shutil.get_terminal_size().columns - 1
        seconds = time.time() - summary.since
        parts = [f"procedure {summary.id}", str(summary.state)]
        if percent is not None:
            parts += [f"{_bar(percent)} {percent:3.0f} %" if width >= 3 * _BAR else f"{percent:.0f} %"]
        line = "  ".join(part for part in [*parts, f"{seconds:.0f} s", activity] if part)
        print(f"\r{line[:width]}\x1b[K", end="", flush=True)

    def _say(self, line: str, news: str) -> None:
        """Print a line, if it has any news."""
        if news != self._last:
            self._last = news
            print(line, flush=True)


def _bar(percent: float) -> str:
    done = round(_BAR * min(max(percent, 0.0), 100.0) / 100)
    return f"[{'#' * done}{'.' * (_BAR - done)}]"


def watch(procedure: Procedure) -> None:
    """Show a procedure until it has ended, or until Ctrl-C, which leaves it running."""
    shown = Watch(procedure)
    try:
        shown.end(line_of(shown.until_end()))
    except KeyboardInterrupt:
        shown.end(f"procedure {procedure.id} goes on; %oet_stop {procedure.id} stops it")


def show_output(procedure: Procedure, follow: bool) -> None:
    """Print what a procedure has printed.

    :param follow: go on until it has ended, or until Ctrl-C, which leaves it running
    """
    last = "\n"
    try:
        for text in procedure.output(follow=follow):
            print(text, end="", flush=True)
            last = text
    except KeyboardInterrupt:
        print(f"\nprocedure {procedure.id} goes on; %oet_stop {procedure.id} stops it", flush=True)
        return
    if not last.endswith("\n"):
        print(flush=True)
