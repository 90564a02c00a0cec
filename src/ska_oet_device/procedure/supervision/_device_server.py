"""The device server process: made, greeted, listened to, and made again when it crashes.  In main's loop."""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterable, Sequence

from ...mptools import (
    BrokenPipeProtocolError,
    Channel,
    Children,
    EventLoop,
    ExitStatus,
    Frame,
    NotPlainError,
    own_python,
    spawn,
)
from .. import messages
from ._journal import Journal

_log = logging.getLogger(__name__)

LINK_FD = 3
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0  # seconds between a crash of the device server and its next start
_CRASHES_IN_A_ROW = 8
_STABLE_AFTER = 60.0  # seconds of service after which earlier crashes are forgotten
_SHUTDOWN_PATIENCE = 5.0  # seconds for the device server to end when asked to


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
        self._loop.watch(self._channel, self._readable, self._writable)
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
        """Send what has gathered; the rest follows when the peer has read some of it."""
        if self._channel is not None:
            self._channel.flush()
            self._loop.interest(self._channel, read=True, write=self._channel.pending > 0)

    def _writable(self) -> None:
        self._flush()
        if not self._journal.congested:
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
            self._on_message(message)


class DeviceServerKeeper:
    """Starts the device server process, speaks with it, and starts it again when it crashes.

    Exit status 0 means that it was ended on purpose.  One that fails before it has ever served
    is not tried again: its status tells the caller what is wrong with the configuration.  One that
    has served is given up after some crashes, unless it is needed.

    :param is_needed: whether scripts live, or something that happened is not recorded yet
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
    ) -> None:
        self._loop = loop
        self._children = children
        self._journal = journal
        self._arguments = list(arguments)
        self._pipe = PeerPipe(loop, journal, self._handle, on_uncongested)
        self._on_message = on_message
        self._welcome = welcome
        self._on_final_end = on_final_end
        self._is_needed = is_needed
        self._problem = ""
        self._pid: int | None = None
        self._ready_at: float | None = None
        self.has_served = False
        self._crashes = 0
        self._ending = False

    def start(self) -> None:
        """Start the process and greet it."""
        ours, theirs = socket.socketpair()
        argv = [*own_python(), "-m", "ska_oet_device.procedure.ui", str(LINK_FD), *self._arguments]
        with theirs:
            self._pid = spawn(argv, dict(os.environ), {LINK_FD: theirs.fileno()})
        _log.info("the device server is started: process %d", self._pid)
        self._ready_at = None
        self._problem = ""
        self._children.watch(self._pid, self._ended)
        self._pipe.open(ours, self._welcome())

    def shut_down(self) -> None:
        """Have it end; `on_final_end` is called when it has."""
        self._ending = True
        pid = self._pid
        if pid is None:
            self._on_final_end(0)
            return
        self._journal.send(messages.to_frame(messages.Shutdown()))
        self._loop.call_later(_SHUTDOWN_PATIENCE, lambda: self._insist(pid))

    def _handle(self, message: object) -> None:
        if isinstance(message, messages.ServerReady):
            self.has_served = True
            self._ready_at = time.monotonic()
        elif isinstance(message, messages.CannotServe):
            self._problem = message.reason
        else:
            self._on_message(message)

    def _insist(self, pid: int) -> None:
        if self._children.signal(pid, signal.SIGKILL):
            _log.error("the device server %d does not end: it is killed", pid)

    def _ended(self, status: ExitStatus) -> None:
        self._pid = None
        self._pipe.close()  # its last words arrive in the same instant as its end
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
        self._crashes += 1
        if self._crashes > _CRASHES_IN_A_ROW and not self._is_needed():
            _log.critical("the device server crashed %d times in a row, last with %s: giving up", self._crashes, status)
            self._on_final_end(code)
            return
        pause = min(_FIRST_PAUSE * 2 ** min(self._crashes - 1, 30), _LONGEST_PAUSE)
        _log.error("the device server ended with %s; it is started again in %g s", self._problem or status, pause)
        self._loop.call_later(pause, self._start_again)

    def _start_again(self) -> None:
        if not self._ending:
            self.start()
