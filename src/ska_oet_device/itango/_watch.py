"""Following a procedure in the shell: its progress in one line that is drawn anew, and what it prints."""

from __future__ import annotations

import shutil
import sys

from ..client import OetClient, Procedure, ProcedureState, Progress, ProgressEvent, Summary
from ._display import dropped_start, line_of

_BAR = 20  # characters
_NOTHING = Progress(None, "")


class Watch:
    """Shows a procedure until it has ended; in a terminal one line, elsewhere a line for each news."""

    def __init__(self, client: OetClient, procedure: Procedure) -> None:
        self._client = client
        self._procedure = procedure
        self._in_place = sys.stdout.isatty()
        self._news = ""
        self._progress = _NOTHING

    def until_end(self) -> Summary:
        """Draw until it has ended, or a start came to nothing; returns what is known of it then.

        :raises KeyboardInterrupt: Ctrl-C, which leaves the script as it is
        :raises OetError: the device cannot be asked
        """
        followed = self._client.follow(progress=True)  # begins before anything is looked at
        self._progress = self._procedure.progress
        summary = self._procedure.summary()
        while not (summary.state.is_terminal or dropped_start(summary)):
            self._draw(summary)
            event = next(followed)
            if isinstance(event, ProgressEvent):
                is_own = event.process_uid == self._procedure.id
                self._progress = Progress(event.percent, event.activity) if is_own else _NOTHING
            elif event.process_uid == self._procedure.id:
                summary = self._procedure.summary()
        return summary

    def end(self, text: str) -> None:
        """Write the last line in the place of the one that was drawn."""
        print(f"\r\x1b[K{text}" if self._in_place else text, flush=True)

    def _draw(self, summary: Summary) -> None:
        progress = self._progress if summary.state is ProcedureState.RUNNING else _NOTHING
        if self._in_place:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r{_bar_line(summary, progress, width)}\x1b[K", end="", flush=True)
            return
        news = f"{summary.state} {progress.activity}"
        if news != self._news:
            self._news = news
            print(line_of(summary, progress.percent, progress.activity), flush=True)


def _bar_line(summary: Summary, progress: Progress, width: int) -> str:
    """Return a line that fits: with a bar, if there is room for it."""
    parts = [f"procedure {summary.id}", str(summary.state)]
    if progress.percent is not None:
        has_bar = width >= 3 * _BAR
        parts.append(f"{_bar(progress.percent)} {progress.percent:3.0f} %" if has_bar else f"{progress.percent:.0f} %")
    return "  ".join(part for part in [*parts, progress.activity] if part)[:width]


def _bar(percent: float) -> str:
    done = round(_BAR * min(max(percent, 0.0), 100.0) / 100)
    return f"[{'#' * done}{'.' * (_BAR - done)}]"


def watch(client: OetClient, procedure: Procedure) -> None:
    """Show a procedure until it has ended, or until Ctrl-C, which leaves it running."""
    shown = Watch(client, procedure)
    try:
        shown.end(line_of(shown.until_end()))
    except KeyboardInterrupt:
        shown.end(_goes_on(procedure))


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
        print(f"\n{_goes_on(procedure)}", flush=True)
        return
    if not last.endswith("\n"):
        print(flush=True)


def _goes_on(procedure: Procedure) -> str:
    return f"procedure {procedure.id} goes on; %oet_stop {procedure.id} stops it"
