"""Clock, processes and kernel as main sees them, which do what real ones do not do on request."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from ska_oet_device.mptools import ExitStatus, Frame, Signalled
from ska_oet_device.procedure.messages import CONTROL, Run, from_payload, to_frame

HEADER = 5  # bytes of a frame before its payload
NO_SUCH_PID = 10_000_000  # beyond the kernel's largest: what is sent to one of these reaches nobody


class Clock:
    """An event loop with a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self._timers: list[SimpleNamespace] = []

    def call_later(self, seconds: float, callback: Callable[[], None]) -> SimpleNamespace:
        timer = SimpleNamespace(when=self.now + seconds, callback=callback, is_cancelled=False)
        timer.cancel = lambda: setattr(timer, "is_cancelled", True)
        self._timers.append(timer)
        return timer

    def move(self, seconds: float) -> None:
        end = self.now + seconds
        while due := [timer for timer in self._timers if not timer.is_cancelled and timer.when <= end]:
            timer = min(due, key=lambda each: each.when)
            self._timers.remove(timer)
            self.now = max(self.now, timer.when)
            timer.callback()
        self.now = end


class Process:
    """A worker and its process.  It drives from the moment it is told to call a function.

    That goes on until nothing is left of it, unless a function that is not `main` has returned.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.ended = self.is_buried = False
        self.channel = SimpleNamespace(pending=0)
        self.function = ""
        self.was_called = self.is_loaded = self.has_finished = False
        self.told: list[Run] = []
        self.on_frame: Callable[[Frame], None]
        self.on_end: Callable[[ExitStatus], None]
        self.obeys: set[int] = {15, 9}
        self.given_up = False

    def end(self, signum: int) -> None:
        """It has not taken its work up, and another one is to follow when it has ended."""
        self.given_up = True

    @property
    def drives(self) -> bool:
        return not self.is_buried and bool(self.function or self.told)

    def send(self, frame: bytes, descriptor: int | None = None) -> None:
        message = from_payload(frame[HEADER:])
        if isinstance(message, Run):
            self.told.append(message)
            self.was_called = True

    def say(self, *messages: Any) -> None:
        for message in messages:
            self.on_frame(Frame(CONTROL, to_frame(message)[HEADER:]))

    def pause(self) -> None: ...

    resume = pause


class Kernel:
    """The processes that there are, and what becomes of the signals that they are sent."""

    def __init__(self) -> None:
        self.processes: dict[int, Process] = {}
        self._pids = itertools.count(NO_SUCH_PID)
        self.ill: dict[int, tuple[int, ...]] = {}

    def take(self, on_worker: Callable[[Process], None]) -> Callable[[], None]:
        process = Process(next(self._pids))
        self.processes[process.pid] = process
        on_worker(process)
        return lambda: None

    def signal(self, pid: int, signum: int) -> Signalled:
        process = self.processes.get(pid)
        if process is None or process.ended:
            return Signalled.GONE
        if signum in process.obeys:
            self.ill[pid] = (signum,)
        return Signalled.SENT

    def reap(self, only: int = -1) -> None: ...

    def end(self, process: Process, status: ExitStatus) -> None:
        process.ended = True
        process.on_end(status)


class IdleUndertaker:
    """Nothing is ever left behind."""

    def __init__(self, loop: object, children: object) -> None: ...

    def bury(
        self,
        pid: int,
        run_id: str,
        done: Callable[[list[int], list[int]], None],
        on_gone: Callable[[list[int]], None],
    ) -> None:
        done([], [])
