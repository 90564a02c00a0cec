"""How a procedure that is followed is shown: as lines, as JSON, or on a terminal with a progress bar in place."""

from __future__ import annotations

import abc
import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ._shell import Shell
from ._streams import event_data
from ._text import one_line

if TYPE_CHECKING:
    from ..client import LifecycleEvent

_STEP = 10.0  # percent between two lines of progress, if the activity stays the same


class Display(abc.ABC):
    """Shows what happens to one procedure.

    :param uid: its id
    """

    def __init__(self, shell: Shell, uid: int) -> None:
        self._shell = shell
        self._uid = uid

    @abc.abstractmethod
    def state(self, event: LifecycleEvent) -> None:
        """Show a change."""

    @abc.abstractmethod
    def progress(self, percent: float | None, activity: str) -> None:
        """Show what the script reports of itself."""

    @abc.abstractmethod
    def output(self, text: str) -> None:
        """Show what was printed, harmless already."""

    def refresh(self) -> None:
        """Show it once more: the terminal has another size."""

    def open(self) -> None:
        """Go on behind `close`."""

    def close(self) -> None:
        """Leave the terminal to others; may be called twice."""


class _Json(Display):
    def state(self, event: LifecycleEvent) -> None:
        self._shell.data(event_data(event))

    def progress(self, percent: float | None, activity: str) -> None:
        self._shell.data({"process_uid": self._uid, "progress": percent, "activity": activity})

    def output(self, text: str) -> None:
        self._shell.data({"process_uid": self._uid, "output": text})


class _Lines(Display):
    def __init__(self, shell: Shell, uid: int) -> None:
        super().__init__(shell, uid)
        self._is_within_line = False
        self._said: tuple[float, str] = (-_STEP, "")

    def state(self, event: LifecycleEvent) -> None:
        self._line(state_line(self._shell, event))

    def progress(self, percent: float | None, activity: str) -> None:
        if percent is None:
            return
        before, same = self._said[0], activity == self._said[1]
        if not same or abs(percent - before) >= _STEP or (percent >= 100 > before):
            self._said = (percent, activity)
            self._line(f"{percent:8.0f} %  {one_line(activity)}".rstrip())

    def output(self, text: str) -> None:
        self._shell.write(text)
        self._is_within_line = not text.endswith("\n")

    def close(self) -> None:
        if self._is_within_line:
            self._shell.line()
            self._is_within_line = False

    def _line(self, text: str) -> None:
        self.close()
        self._shell.line(text)


class _InPlace(Display):
    """Lines above, and at the bottom what has no end of a line yet, and the progress bar."""

    def __init__(self, shell: Shell, uid: int) -> None:
        from ._in_place import Bottom

        super().__init__(shell, uid)
        self._bottom = Bottom(shell)
        self._rest = ""

    def state(self, event: LifecycleEvent) -> None:
        self._end_line()
        self._bottom.line(state_line(self._shell, event))

    def progress(self, percent: float | None, activity: str) -> None:
        self._bottom.progress(percent, one_line(activity))

    def output(self, text: str) -> None:
        *lines, self._rest = (self._rest + text).replace("\r\n", "\n").split("\n")
        for line in lines:
            self._bottom.line(_as_overwritten(line))
        self._bottom.unfinished(_as_overwritten(self._rest))

    def refresh(self) -> None:
        self._bottom.refresh()

    def open(self) -> None:
        self._bottom.open()

    def close(self) -> None:
        self._end_line()
        self._bottom.close()

    def _end_line(self) -> None:
        if self._rest:
            self._bottom.line(_as_overwritten(self._rest))
            self._rest = ""
            self._bottom.unfinished("")


@contextlib.contextmanager
def display(shell: Shell, uid: int) -> Iterator[Display]:
    """Yield what fits standard output."""
    kind = _Json if shell.as_json else _InPlace if shell.is_capable else _Lines
    shown: Display = kind(shell, uid)
    shown.open()
    try:
        yield shown
    finally:
        # What is to be said behind it, on standard error, stands in a line of its own; nobody may read any more.
        with contextlib.suppress(OSError):
            shown.close()
            sys.stdout.flush()


def state_line(shell: Shell, event: LifecycleEvent) -> str:
    """Return a change as a line; why a procedure has not ended well is said at the very end, on standard error."""
    is_said = event.state in ("FAILED", "STOPPED", "UNKNOWN") or event.is_dropped_start
    reason = "" if is_said or event.state == "COMPLETE" else one_line(event.reason or "")
    state = "start dropped" if event.is_dropped_start else shell.coloured(f"{event.state:<12}")
    return f"{shell.time_of_day(event.time)}  {state}  {reason}".rstrip()


def _as_overwritten(line: str) -> str:
    """Return what a line shows of which parts were overwritten, as those of progress bars are."""
    parts = [part for part in line.split("\r") if part]
    return parts[-1] if parts else ""
