"""The bottom of a terminal, written again and again in place, and lines above it that stay."""

from __future__ import annotations

import sys

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ._shell import Shell

_WIDEST_BAR = 40  # columns


def console_of(shell: Shell) -> Console:
    """Return rich's view of standard output: it takes no text of others for markup, links or numbers."""
    return Console(
        file=sys.stdout, markup=False, emoji=False, highlight=False, no_color=not shell.has_colours, soft_wrap=False
    )


def make_live(console: Console, *, transient: bool) -> Live:
    """Return what writes in place, when it is told to, in the thread that tells it."""
    return Live(console=console, auto_refresh=False, transient=transient, redirect_stdout=False, redirect_stderr=False)


def bar(percent: float, width: int) -> ProgressBar:
    """Return a progress bar of one character's height."""
    return ProgressBar(total=100.0, completed=min(100.0, max(0.0, percent)), width=width)


class Bottom:
    """A line that is not finished yet, and a progress bar; closed until it is opened."""

    def __init__(self, shell: Shell) -> None:
        self._console = console_of(shell)
        self._live: Live | None = None
        self._percent: float | None = None
        self._activity = ""
        self._unfinished = ""

    def open(self) -> None:
        """Begin to show it."""
        if self._live is None:
            self._live = make_live(self._console, transient=True)
            self._live.start()
            self.refresh()

    def close(self) -> None:
        """Take it away; may be called twice."""
        if self._live is not None:
            live, self._live = self._live, None
            live.stop()

    def line(self, text: str) -> None:
        """Write a line above it, which may have colours."""
        self._console.print(Text.from_ansi(text), soft_wrap=True)

    def unfinished(self, text: str) -> None:
        """Show a line that has no end yet."""
        self._unfinished = text
        self.refresh()

    def progress(self, percent: float | None, activity: str) -> None:
        """Show how far it is; None: there is nothing to tell."""
        self._percent, self._activity = percent, activity
        self.refresh()

    def refresh(self) -> None:
        """Write it again."""
        if self._live is not None:
            self._live.update(self._renderable(), refresh=True)

    def _renderable(self) -> RenderableType:
        parts: list[RenderableType] = []
        if self._unfinished:
            parts.append(Text.from_ansi(self._unfinished))
        if self._percent is not None:
            grid = Table.grid(padding=(0, 1))
            grid.add_column(no_wrap=True, min_width=5, justify="right")
            grid.add_column(no_wrap=True)
            grid.add_column(overflow="fold")
            width = min(_WIDEST_BAR, self._console.width // 3)
            grid.add_row(f"{self._percent:.0f} %", bar(self._percent, width), Text(self._activity))
            parts.append(grid)
        return Group(*parts)
