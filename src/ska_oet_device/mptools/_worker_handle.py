"""Main's end of one worker, from the request for it to its end."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterable

from ._event_loop import EventLoop, Timer
from ._pipe import BrokenPipeProtocolError, Channel, Frame
from ._process import Children, ExitStatus
from ._template_protocol import FORK_REFUSED, FORKED, OF_A_BIRTH, PID, WORKER_READY

_log = logging.getLogger(__name__)

ENDED_UNBORN = "the worker, or the template process, ended before the worker was born"


class WorkerHandle:
    """Main's end of one worker: its pipe, its process id, and what to call when something happens.

    `pid` is None until the worker exists.  Whoever takes the worker sets `on_frame`, `on_end`, `on_failed` (the worker
    was never born) and `on_fault` (something on this side has raised); before that the pool is the one who listens.

    Whoever is told of a worker can rely on hearing of its end: it is watched first.  One that has died by then is told
    of as `ended`.

    :raises OSError: the kernel has no room to wait for one more pipe
    """

    def __init__(self, loop: EventLoop, children: Children, channel: Channel) -> None:
        self._loop = loop
        self._children = children
        self.channel = channel
        self.pid: int | None = None
        self.ready = False
        self.ended = False
        self.is_refused = False  # by the system, for now
        self.birth_deadline: Timer | None = None
        self._reading = True
        self._is_silenced = False
        self._last_signal: int | None = None
        self.on_born: Callable[[WorkerHandle], None] = lambda worker: None
        self.on_failed: Callable[[WorkerHandle, str], None] = lambda worker, reason: None
        self.on_frame: Callable[[Frame], None] = lambda frame: None
        self.on_end: Callable[[ExitStatus], None] = lambda status: None
        self.on_garbage: Callable[[str], None] = lambda reason: None
        self.on_fault: Callable[[Exception], None] = self._kill
        loop.watch(channel, self._readable, self._writable)
        children.expect_birth(self._look_for_birth)

    def send(self, frame: bytes, descriptor: int | None = None) -> None:
        """Send an encoded frame; what the worker does not take at once is kept.

        :param descriptor: goes with the frame, which then is the first of all
        """
        if descriptor is None:
            self.channel.send(frame)
        else:
            self.channel.send_with(frame, descriptor)
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

    def silence(self) -> None:
        """Take no more frames: it writes what it must not.  It is not held up by that, and its death is still told."""
        self._is_silenced = True
        self._loop.unwatch(self.channel)
        self.channel.refuse()

    def end(self, signum: int) -> None:
        """Have it end by a signal: now, or when its birth has been read; not once it has been reaped."""
        self._last_signal = signum
        if self.pid is not None:
            self._children.signal(self.pid, signum)

    def close(self) -> None:
        self._children.forget_birth(self._look_for_birth)
        self._loop.unwatch(self.channel)
        self.channel.close()

    def _writable(self) -> None:
        self._guarded(self._write)

    def _readable(self) -> None:
        self._guarded(self._read_frames)

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:  # top of what is done for one worker: the others must not suffer
            self.on_fault(error)

    def _kill(self, error: Exception) -> None:
        """End a worker that nobody has taken yet: there will be another one."""
        _log.error("worker %s is killed for a fault of this program", self.pid, exc_info=error)
        self.end(signal.SIGKILL)

    def _write(self) -> None:
        self.channel.flush()
        if not self.channel.pending:
            self._loop.interest(self.channel, read=self._reading, write=False)

    def _look_for_birth(self) -> None:
        """Handle now what has arrived: whoever looks for orphans must not take the newborn for one."""
        self._loop.attend(self.channel)

    def _read_frames(self) -> None:
        try:
            frames = self.channel.receive()
        except EOFError:
            self._loop.unwatch(self.channel)
            if self.pid is None:
                self._fail(ENDED_UNBORN)
            return  # else its death is the news, and waitpid brings it
        except BrokenPipeProtocolError as error:
            self.silence()
            self.on_garbage(str(error))
            return
        self._take(frames)

    def _take(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            if self._is_silenced:
                return
            self._handle(frame)

    def _handle(self, frame: Frame) -> None:
        if frame.tag == WORKER_READY and not self.ready:
            self.ready = True
        elif frame.tag not in OF_A_BIRTH:
            self.on_frame(frame)
        elif self.pid is not None:  # user code runs at the other end, and may write anything
            self.silence()
            self.on_garbage("a worker that is alive tells of its birth")
        elif frame.tag == FORKED:
            if self.birth_deadline is not None:
                self.birth_deadline.cancel()
            self._children.forget_birth(self._look_for_birth)
            (self.pid,) = PID.unpack(frame.payload)
            self._children.watch(self.pid, self._exited)
            if self._last_signal is not None:
                self._children.signal(self.pid, self._last_signal)
            self.on_born(self)
        else:
            self.is_refused = frame.tag == FORK_REFUSED
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
        try:
            self._take(self.channel.drain())
        finally:  # its end is told, whatever its last words were
            self.ended = True
            self.close()
            self.on_end(status)
