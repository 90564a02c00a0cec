"""The event loop of the main process: pipes, signals and deadlines in one wait, and no polling."""

from __future__ import annotations

import heapq
import itertools
import logging
import math
import selectors
import signal
import socket
import time
from collections.abc import Callable
from typing import Protocol

_log = logging.getLogger(__name__)

Callback = Callable[[], None]

_LONGEST_WAIT = 86400.0  # seconds; the selector takes 2**31 ms at most, and would end the loop for more
_REST = 0.1  # seconds before a pipe is tried again that cannot be waited for, or whose callback has failed


class HasFileno(Protocol):
    """Anything that a selector can wait on."""

    def fileno(self) -> int: ...


class Timer:
    """A call that is to happen at a time; may be cancelled, also after it has happened."""

    __slots__ = ("callback", "when")

    def __init__(self, when: float, callback: Callback) -> None:
        self.when = when
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        self.callback = None


class EventLoop:
    """Waits for readable and writable pipes, signals and deadlines at once, and calls back.

    Runs in the main thread of one process.  An iteration handles the pipes first and the signals
    after them, so that what a child wrote before it died is read before its death is noticed.
    A callback that raises is logged and does not end the loop; a pipe's is not called again for a moment, lest the loop
    do nothing else.
    """

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._watched: dict[HasFileno, tuple[Callback, Callback | None]] = {}
        self._wanted: dict[HasFileno, int] = {}
        self._resting: dict[HasFileno, Timer] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._count = itertools.count()
        self._signal_callbacks: dict[int, Callback] = {}
        self._before_waiting: dict[Callback, None] = {}
        self._stopped = False
        self._wake_reader, self._wake_writer = socket.socketpair()
        for end in (self._wake_reader, self._wake_writer):
            end.setblocking(False)
        signal.set_wakeup_fd(self._wake_writer.fileno(), warn_on_full_buffer=False)
        self._arrived: set[int] = set()
        self.watch(self._wake_reader, self._collect_signals)

    # -- pipes

    def watch(self, pipe: HasFileno, on_readable: Callback, on_writable: Callback | None = None) -> None:
        """Call `on_readable` whenever `pipe` can be read; `on_writable` once asked for by `interest`.

        :raises OSError: the kernel has no room to wait for one more; it is not watched then
        """
        self._selector.register(pipe, selectors.EVENT_READ, (pipe, on_readable, on_writable))
        self._watched[pipe] = on_readable, on_writable
        self._wanted[pipe] = selectors.EVENT_READ

    def interest(self, pipe: HasFileno, *, read: bool, write: bool) -> None:
        """Say what to wait for on a watched pipe; neither means: keep it, but do not wait for it."""
        if pipe in self._watched:
            self._wanted[pipe] = (selectors.EVENT_READ if read else 0) | (selectors.EVENT_WRITE if write else 0)
            if pipe not in self._resting:
                self._wait_for(pipe, self._wanted[pipe])

    def _wait_for(self, pipe: HasFileno, events: int) -> None:
        try:
            key = self._selector.get_map().get(pipe)
            if key is None and events:
                self._selector.register(pipe, events, (pipe, *self._watched[pipe]))
            elif key is not None and not events:  # no selector can wait for nothing
                self._selector.unregister(pipe)
            elif key is not None and key.events != events:
                self._selector.modify(pipe, events, key.data)
        except OSError as error:
            _log.error("%r cannot be waited for now: %s", pipe, error)
            self._rest(pipe)

    def _rest(self, pipe: HasFileno) -> None:
        """Wait for it again in a moment."""
        if pipe in self._watched and pipe not in self._resting:
            self._resting[pipe] = self.call_later(_REST, lambda: self._has_rested(pipe))

    def _has_rested(self, pipe: HasFileno) -> None:
        del self._resting[pipe]
        self._wait_for(pipe, self._wanted[pipe])

    def attend(self, pipe: HasFileno) -> None:
        """Call at once what would be called if the pipe, should it be watched, could be read."""
        if pipe in self._watched:
            self._call(self._watched[pipe][0])

    def unwatch(self, pipe: HasFileno) -> None:
        self._watched.pop(pipe, None)
        self._wanted.pop(pipe, None)
        resting = self._resting.pop(pipe, None)
        if resting is not None:
            resting.cancel()
        try:
            self._selector.unregister(pipe)
        except (KeyError, ValueError):
            pass

    # -- deadlines

    def call_later(self, seconds: float, callback: Callback) -> Timer:
        """Call `callback` once, `seconds` from now by the monotonic clock; at once if that is no number."""
        # A NaN is neither before nor after any other timer: with one in the heap none might be called.
        timer = Timer(time.monotonic() + (0.0 if math.isnan(seconds) else seconds), callback)
        heapq.heappush(self._timers, (timer.when, next(self._count), timer))
        return timer

    def before_waiting(self, callback: Callback) -> None:
        """Call `callback` once, when everything that has arrived is handled and before the loop waits again."""
        self._before_waiting[callback] = None

    # -- signals

    def on_signal(self, signum: signal.Signals, callback: Callback) -> None:
        """Call `callback` in the loop after `signum` has arrived; several may be merged into one call."""
        signal.signal(signum, lambda *_: None)  # the wake-up descriptor is what tells us
        self._signal_callbacks[signum] = callback

    def _collect_signals(self) -> None:
        try:
            self._arrived.update(self._wake_reader.recv(4096))
        except BlockingIOError:
            pass

    # -- the loop

    def run(self) -> None:
        """Run until `stop` is called."""
        while True:
            self._call_before_waiting()
            if self._stopped:
                return
            for key, events in self._wait():
                self._call_for_pipe(events, *key.data)
            arrived, self._arrived = self._arrived, set()
            for signum in sorted(arrived):
                callback = self._signal_callbacks.get(signum)
                if callback is not None:
                    self._call(callback)
            self._run_due_timers()

    def _wait(self) -> list[tuple[selectors.SelectorKey, int]]:
        try:
            return self._selector.select(self._time_to_next())
        except (OSError, MemoryError):  # nothing is lost: what has arrived is still there at the next look
            _log.exception("the event loop cannot wait")
            time.sleep(_REST)
            return []

    def stop(self) -> None:
        self._stopped = True

    def close(self) -> None:
        """Give back the descriptors and the wake-up descriptor of the process."""
        signal.set_wakeup_fd(-1)
        self._selector.close()
        self._wake_reader.close()
        self._wake_writer.close()

    def _call_for_pipe(self, events: int, pipe: HasFileno, on_readable: Callback, on_writable: Callback | None) -> None:
        if pipe not in self._watched:  # somebody has closed it, since the loop has looked
            return
        is_well = True
        if events & selectors.EVENT_READ:
            is_well = self._call(on_readable)
        if events & selectors.EVENT_WRITE and on_writable is not None:
            is_well = self._call(on_writable) and is_well
        if not is_well and pipe in self._watched:
            self._rest(pipe)
            self._wait_for(pipe, 0)

    def _call_before_waiting(self) -> None:
        while self._before_waiting:
            callback, _ = self._before_waiting.popitem()
            self._call(callback)

    def _time_to_next(self) -> float | None:
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        return min(max(0.0, self._timers[0][0] - time.monotonic()), _LONGEST_WAIT) if self._timers else None

    def _run_due_timers(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            callback, timer.callback = timer.callback, None
            if callback is not None:
                self._call(callback)

    @staticmethod
    def _call(callback: Callback) -> bool:
        """Call it; False, and a line in the log, if it has raised."""
        try:
            callback()
            return True
        except Exception:  # top of the process: one broken procedure must not end the others
            _log.exception("a callback of the event loop failed: %r", callback)
            return False
