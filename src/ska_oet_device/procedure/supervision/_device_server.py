"""The device server process: made, greeted, listened to, and made again when it crashes.  In main's loop."""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from ...mptools import (
    BrokenPipeProtocolError,
    Channel,
    Children,
    EventLoop,
    ExitStatus,
    Frame,
    GrowingPause,
    NotPlainError,
    own_python,
    spawn,
)
from .. import messages
from ._allowance import Allowance
from ._journal import Journal
from ._watch import Watch

_log = logging.getLogger(__name__)

LINK_FD = 3
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0  # seconds between a crash of the device server and its next start
_CRASHES_IN_A_ROW = 8
_STABLE_AFTER = 60.0  # seconds of service after which earlier crashes are forgotten
_SHUTDOWN_PATIENCE = 5.0  # seconds for the device server to end when asked to
_HANGS_AFTER = 10.0  # seconds, of main's own running time, without an answer while it serves
# Before: Tango's client keeps Python's lock while it waits for a database that hangs (80 s, measured).
_HANGS_AFTER_AT_START = 120.0
_START_PATIENCE = 180.0  # seconds from ServerStarts, or the last HistoryMigrates, to ServerReady


class PeerPipe:
    """Main's end of the pipe to the device server, or to whoever stands in its place."""

    def __init__(
        self,
        loop: EventLoop,
        journal: Journal,
        on_message: Callable[[object], None],
        on_uncongested: Callable[[], None],
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        """Nothing is open yet.

        :param on_message: called with each message that comes
        :param on_uncongested: called when the peer takes what scripts say, after it may have been slow to
        :param on_end: called when the other end is closed; what it has said before has been handled
        """
        self._loop = loop
        self._journal = journal
        self._on_message = on_message
        self._on_uncongested = on_uncongested
        self._on_end = on_end
        self._channel: Channel | None = None

    def open(self, sock: socket.socket, welcome: messages.Welcome) -> None:
        """Greet the peer, and tell it what nobody has acknowledged."""
        self._channel = Channel(sock, corked=True)
        self._loop.watch(self._channel, self._readable, self._flush)
        self._channel.send(messages.to_frame(welcome))
        self._journal.connect(self._channel, lambda: self._loop.before_waiting(self._flush))
        self._loop.before_waiting(self._flush)

    def close(self) -> None:
        """Take the peer's last words; nobody listens any more, so scripts need not wait."""
        channel, self._channel = self._channel, None
        self._journal.disconnect()
        if channel is not None:
            self._take(channel.drain())
            self._loop.unwatch(channel)
            channel.close()
        self._on_uncongested()

    def _flush(self) -> None:
        """Send what has gathered; the rest follows when the peer has read some of it.

        What made scripts wait may all be sent by this: nothing else would ever tell them.
        """
        if self._channel is not None:
            was_congested = self._journal.congested
            self._channel.flush()
            self._loop.interest(self._channel, read=True, write=self._channel.pending > 0)
            if was_congested and not self._journal.congested:
                self._on_uncongested()

    def _readable(self) -> None:
        assert self._channel is not None
        try:
            frames = self._channel.receive()
        except (EOFError, BrokenPipeProtocolError):
            self._loop.unwatch(self._channel)
            self._on_end()
            return
        self._take(frames)

    def _take(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            try:
                message = messages.from_payload(frame.payload)
            except NotPlainError:
                _log.exception("the device server sent what is no message")
                continue
            try:
                self._on_message(message)
            except Exception:  # the requests behind it are others'
                _log.exception("what the device server asks cannot be done: %s", type(message).__name__)


class DeviceServerKeeper:
    """Starts the device server process, speaks with it, and starts it again when it crashes.

    Exit status 0 means that it was ended on purpose.  One that fails before it has ever served
    is not tried again: its status tells the caller what is wrong with the configuration.  One that
    has served is given up after some crashes, unless it is needed.

    :param is_needed: whether scripts live, or something that happened is not recorded yet
    :param on_gone: called when it has ended, before another one is started
    :param environment: variables that it has alone, beside those of this process
    :param on_status: called with a sentence that says how it is, when that changes
    """

    def __init__(
        self,
        loop: EventLoop,
        children: Children,
        journal: Journal,
        arguments: Sequence[str],
        welcome: Callable[[], messages.Welcome],
        on_message: Callable[[object], None],
        on_uncongested: Callable[[], None],
        on_final_end: Callable[[int], None],
        is_needed: Callable[[], bool],
        on_gone: Callable[[], None] = lambda: None,
        environment: Mapping[str, str] | None = None,
        on_status: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._loop = loop
        self._environment = environment or {}
        self._children = children
        self._journal = journal
        self._arguments = list(arguments)
        self._pipe = PeerPipe(loop, journal, self._handle, on_uncongested)
        self._on_message = on_message
        self._welcome = welcome
        self._on_final_end = on_final_end
        self._is_needed = is_needed
        self._on_gone = on_gone
        self._on_status = on_status
        self._problem = ""
        self._pid: int | None = None
        self._ready_at: float | None = None
        self._watch = Watch(loop, lambda: journal.send(messages.to_frame(messages.Ping(0))), self._hangs)
        self._start_timer: Allowance | None = None
        self._pause = GrowingPause(_FIRST_PAUSE, _LONGEST_PAUSE)
        self.has_served = False
        self._crashes = 0
        self._ending = False

    def start(self) -> None:
        """Start the process and greet it; if that fails, whatever the reason, try again after a pause that grows."""
        self._problem = ""
        self._ready_at = None
        again = self._loop.call_later(_LONGEST_PAUSE, self._start_again)
        try:
            self._begin()
        except OSError as error:
            self._pipe.close()
            _log.error("the device server cannot be started: %s; it is tried again in %g s", error, self._start_later())
        again.cancel()

    def _begin(self) -> None:
        """Start the process and greet it.

        :raises OSError: that cannot be done now
        """
        ours, theirs = socket.socketpair()
        argv = [*own_python(), "-m", "ska_oet_device.procedure.ui", str(LINK_FD), *self._arguments]
        with theirs:
            self._pipe.open(ours, self._welcome())
            pid = spawn(argv, {**os.environ, **self._environment}, {LINK_FD: theirs.fileno()})
        self._pid = pid
        self._on_status("the device server waits for the Tango database")
        self._children.watch(pid, self._ended)
        _log.info("the device server is started: process %d", pid)
        self._watch.begin(_HANGS_AFTER_AT_START)

    def shut_down(self) -> None:
        """Have it end; `on_final_end` is called when it has."""
        self._ending = True
        pid = self._pid
        if pid is None:
            self._on_final_end(0)
            return
        self._journal.send(messages.to_frame(messages.Shutdown()))
        Allowance(self._loop, _SHUTDOWN_PATIENCE, lambda: self._insist(pid))

    def _handle(self, message: object) -> None:
        if isinstance(message, messages.Pong):
            self._watch.note_answer()
        elif isinstance(message, messages.ServerStarts):
            self._give_start_its_time()
            self._on_status("the device server starts: the Tango database has answered")
        elif isinstance(message, messages.HistoryMigrates):
            if self._start_timer is not None:  # one that serves may migrate a history that has come back
                self._give_start_its_time()
                self._on_status("the device server migrates the history")
        elif isinstance(message, messages.ServerReady):
            self._stop_waiting_for_start()
            self.has_served = True
            self._ready_at = time.monotonic()
            self._watch.begin(_HANGS_AFTER)  # what was counted while it started does not count any more
            self._on_status("the device serves")
        elif isinstance(message, messages.CannotServe):
            self._problem = message.reason
        else:
            self._on_message(message)

    # -- one that hangs

    def _hangs(self, seconds: float) -> None:
        self._kill(f"no answer for {seconds:g} s")

    def _give_start_its_time(self) -> None:
        self._stop_waiting_for_start()
        self._start_timer = Allowance(self._loop, _START_PATIENCE, self._does_not_start)

    def _does_not_start(self) -> None:
        self._kill(f"not ready, and no migration of the history under way, for {_START_PATIENCE:g} s")

    def _stop_waiting_for_start(self) -> None:
        if self._start_timer is not None:
            self._start_timer.cancel()
            self._start_timer = None

    def _kill(self, because: str) -> None:
        """Kill one that hangs: its end is handled as any other."""
        if self._pid is not None:
            self._problem = f"{because}: it was killed"
            _log.error("the device server %d: %s", self._pid, self._problem)
            self._children.signal(self._pid, signal.SIGKILL)

    def _insist(self, pid: int) -> None:
        if self._children.signal(pid, signal.SIGKILL):
            _log.error("the device server %d does not end: it is killed", pid)

    def _ended(self, status: ExitStatus) -> None:
        self._pid = None
        self._watch.end()
        self._stop_waiting_for_start()
        self._pipe.close()  # its last words arrive in the same instant as its end
        self._on_gone()
        if self._ending or status.exit_code == 0:
            _log.info("the device server has ended: %s", status)
            self._on_final_end(0)
            return
        code = status.exit_code or 1
        if not self.has_served:
            _log.error("the device server could not start: %s", self._problem or status)
            self._on_final_end(code)
            return
        if self._ready_at is not None and time.monotonic() - self._ready_at > _STABLE_AFTER:
            self._crashes = 0
            self._pause.reset()
        self._crashes += 1
        if self._crashes > _CRASHES_IN_A_ROW and not self._is_needed():
            _log.critical("the device server crashed %d times in a row, last with %s: giving up", self._crashes, status)
            self._on_final_end(code)
            return
        what = self._problem or status
        _log.error("the device server ended with %s; it is started again in %g s", what, self._start_later())

    def _start_later(self) -> float:
        """Start it after a pause; returns how long that is, in seconds."""
        pause = self._pause.next()
        self._loop.call_later(pause, self._start_again)
        return pause

    def _start_again(self) -> None:
        if not self._ending:
            self.start()
