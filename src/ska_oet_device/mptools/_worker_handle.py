"""Main's end of one worker, from the request for it to its end."""

from __future__ import annotations

from collections.abc import Callable

from ._event_loop import EventLoop, Timer
from ._pipe import BrokenPipeProtocolError, Channel, Frame
from ._process import Children, ExitStatus
from ._template_protocol import FORK_FAILED, FORKED, PID, WORKER_READY

ENDED_UNBORN = "the worker, or the template process, ended before the worker was born"


class WorkerHandle:
    """Main's end of one worker: its pipe, its process id, and what to call when something happens.

    `pid` is None until the worker exists.  Whoever takes the worker sets `on_frame`, `on_end` and
    `on_failed` (the worker was never born); before that the pool is the one who listens.
    """

    def __init__(self, loop: EventLoop, children: Children, channel: Channel) -> None:
        self._loop = loop
        self._children = children
        self.channel = channel
        self.pid: int | None = None
        self.ready = False
        self.ended = False
        self.birth_deadline: Timer | None = None
        self._reading = True
        self._last_signal: int | None = None
        self.on_born: Callable[[WorkerHandle], None] = lambda worker: None
        self.on_failed: Callable[[WorkerHandle, str], None] = lambda worker, reason: None
        self.on_frame: Callable[[Frame], None] = lambda frame: None
        self.on_end: Callable[[ExitStatus], None] = lambda status: None
        self.on_garbage: Callable[[str], None] = lambda reason: None
        loop.watch(channel, self._readable, self._writable)

    def send(self, frame: bytes) -> None:
        """Send an encoded frame; what the worker does not take at once is kept."""
        self.channel.send(frame)
        if self.channel.pending:
            self._loop.interest(self.channel, read=self._reading, write=True)

    def pause(self) -> None:
        """Stop reading: the worker feels the back-pressure on its own pipe."""
        self._read(False)

    def resume(self) -> None:
        """Read again after `pause`."""
        self._read(True)

    def _read(self, reading: bool) -> None:
        self._reading = reading
        self._loop.interest(self.channel, read=reading, write=self.channel.pending > 0)

    def end(self, signum: int) -> None:
        """Have it end by a signal: now, or when its birth has been read; not once it has been reaped."""
        self._last_signal = signum
        if self.pid is not None:
            self._children.signal(self.pid, signum)

    def close(self) -> None:
        self._loop.unwatch(self.channel)
        self.channel.close()

    def _writable(self) -> None:
        self.channel.flush()
        if not self.channel.pending:
            self._loop.interest(self.channel, read=self._reading, write=False)

    def _readable(self) -> None:
        try:
            frames = self.channel.receive()
        except EOFError:
            self._loop.unwatch(self.channel)
            if self.pid is None:
                self._fail(ENDED_UNBORN)
            return  # else its death is the news, and waitpid brings it
        except BrokenPipeProtocolError as error:
            self._loop.unwatch(self.channel)
            self.on_garbage(str(error))
            return
        for frame in frames:
            self._handle(frame)

    def _handle(self, frame: Frame) -> None:
        if frame.tag == WORKER_READY:
            self.ready = True
        elif frame.tag not in (FORKED, FORK_FAILED):
            self.on_frame(frame)
        elif self.pid is not None:  # user code runs at the other end, and may write anything
            self._loop.unwatch(self.channel)
            self.on_garbage("a worker that is alive tells of its birth")
        elif frame.tag == FORKED:
            if self.birth_deadline is not None:
                self.birth_deadline.cancel()
            (self.pid,) = PID.unpack(frame.payload)
            self.on_born(self)
            self._children.watch(self.pid, self._exited)
            if self._last_signal is not None:
                self._children.signal(self.pid, self._last_signal)
        else:
            self._loop.unwatch(self.channel)
            self._fail(frame.payload.decode(errors="replace"))

    def _fail(self, reason: str) -> None:
        if not self.ended:
            self.ended = True
            if self.birth_deadline is not None:
                self.birth_deadline.cancel()
            self.close()
            self.on_failed(self, reason)

    def _exited(self, status: ExitStatus) -> None:
        """Drain before you bury: the last message and the death arrive in the same instant."""
        for frame in self.channel.drain():
            self._handle(frame)
        self.ended = True
        self.close()
        self.on_end(status)
