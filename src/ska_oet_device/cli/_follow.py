"""A procedure is followed to its end: states, progress and output as they come, and what Ctrl-C means meanwhile."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
from collections.abc import Callable
from types import FrameType

from ..client import LifecycleEvent, Procedure, RefusedError, Summary, UnreachableError
from ._attention import Interrupt, Items, attention
from ._display import Display, display
from ._output import Output
from ._reach import has_been_away, stop, value_of
from ._reported import Reported
from ._runs import say_new
from ._shell import Shell
from ._status import Ended, Status, check_outcome

_FOLLOWED = ("activeProcedureId", "activeProgress", "activeActivity", "scriptOutput")
_ENDS = ("COMPLETE", "STOPPED", "FAILED", "UNKNOWN")
_PATIENCE = 60.0  # seconds for the outcome, should the device go away between the last event and this


def follow_procedure(shell: Shell, begin: Callable[[], Procedure], fn: str) -> None:
    """Begin, and follow to the end: that of the procedure, or of a function that is not main.

    :param begin: asks the device, and returns the procedure
    :raises Ended: it has not ended well, its start was dropped, or somebody has ended this command
    """
    with attention(shell, *_FOLLOWED) as items:
        procedure = begin()
        summary = procedure.summary()
        say_new(shell, summary)
        with display(shell, summary.id) as shown:
            _Follower(shell, procedure, fn, items, shown).follow()


class _Follower:
    def __init__(self, shell: Shell, procedure: Procedure, fn: str, items: Items, shown: Display) -> None:
        self._shell = shell
        self._procedure = procedure
        self._fn = fn
        self._items = items
        self._shown = shown
        self._output = Output(shell, procedure.id, raw=shell.as_json)
        self._reported = Reported(procedure.id)
        self._has_printed = False

    def follow(self) -> None:
        """Show what comes, until the end."""
        while True:
            item = self._next()
            if isinstance(item, Interrupt):
                self._interrupted(item)
            elif isinstance(item, LifecycleEvent):
                if item.process_uid == self._procedure.id and self._has_ended(item):
                    return
            elif (value := value_of(item)) is not None:
                self._has_printed = self._has_printed or value[0] == "scriptOutput"
                self._reported.take(*value)
            elif has_been_away(item):
                self._has_printed = True

    def _next(self) -> object:
        """Wait for the next item, and show progress when it is due, and output behind the changes that came before."""
        while True:
            if self._has_printed and self._items.empty():
                self._show_output()
            due = self._reported.due_in
            if due == 0:
                self._show_progress()
                continue
            with contextlib.suppress(queue.Empty):
                return self._items.get(timeout=due)

    def _has_ended(self, event: LifecycleEvent) -> bool:
        self._show_progress()
        if event.previous == "RUNNING" or event.state.is_terminal:
            self._show_output()
        self._shown.state(event)
        if event.is_dropped_start:
            text = f"procedure {event.process_uid} was not started, and is READY still: {event.reason}"
            raise Ended(Status.REFUSED, "dropped", text)
        if event.state.is_terminal:
            self._end(self._procedure.wait(*_ENDS, timeout=_PATIENCE))
            return True
        has_returned = event.previous == "RUNNING" and event.state == "READY"
        return has_returned and self._fn != "main"

    def _end(self, summary: Summary) -> None:
        self._show_output()
        self._shown.close()
        if self._shell.as_json:
            self._shell.data(summary.data)
        check_outcome(summary)

    def _show_progress(self) -> None:
        if self._reported.due_in is not None:
            self._shown.progress(*self._reported.to_show())

    def _show_output(self) -> None:
        """Show what was printed since; while the device is away it is left for when it can be reached again."""
        self._has_printed = False
        with contextlib.suppress(UnreachableError):
            while text := self._output.more():
                self._shown.output(text)

    def _interrupted(self, interrupt: Interrupt) -> None:
        if not interrupt.ends:
            self._shown.refresh()
            return
        self._shown.close()
        if interrupt.number == signal.SIGINT and _wants_stop(self._procedure):
            with contextlib.suppress(RefusedError):  # it has ended meanwhile: its outcome follows
                stop(self._shell.client, self._procedure, "Ctrl-C", None)
            self._shown.open()
        elif not self._is_known_to_have_ended():
            raise Ended(Status(interrupt.status), "left", _left(self._procedure))

    def _is_known_to_have_ended(self) -> bool:
        """Say whether the outcome is about to be told; who leaves is not kept by a device that does not answer."""
        with contextlib.suppress(UnreachableError):
            return self._procedure.summary().state.is_terminal
        return False


def _wants_stop(procedure: Procedure) -> bool:
    """Ask on the terminal whether the script is to be stopped; no terminal, or a second Ctrl-C: it is not."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in before:
            signal.signal(number, _interrupt)
        _ask(f"\nStop procedure {procedure.id}? Else it goes on without you. [y/N] ")
        answer = sys.stdin.readline()
    except KeyboardInterrupt:
        answer = "\n"
        _ask("\n")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return answer.strip().lower() in ("y", "yes")


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _ask(text: str) -> None:
    os.write(2, text.encode())


def _left(procedure: Procedure) -> str:
    uid = procedure.id
    return f"procedure {uid} goes on; `oet output -f {uid}` shows what it prints, `oet stop {uid}` ends it"
