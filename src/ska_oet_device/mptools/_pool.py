"""Workers in stock: the template process that forks them, and a few forked ahead of need.

All of this runs in the event loop of main.  Main itself never forks.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence

from ._context import EventLoop, Timer
from ._pipe import BrokenPipeProtocolError, Channel, Frame
from ._process import Children, ExitStatus, own_python, send_signal, spawn
from ._template import CONTROL_FD, FORK_FAILED, FORKED, PID, READY, REPORT_SIZE

_log = logging.getLogger(__name__)

ENDED_UNBORN = "the worker, or the template process, ended before the worker was born"
_WITHOUT_PRELOAD = "workers are made without the modules of Preload"
_QUIET = 0.05  # seconds without work after which spares are made
_PROBES_APART = 2.0  # seconds
_FORK_PATIENCE = 3.0  # seconds from the request to the birth of a worker; a fork takes some 10 ms
_IMPORT_PATIENCE = 10.0  # seconds from the start of a template until it has imported its modules; mostly less than one
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # seconds before a template that ended is started again


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
        if self._reading and not self.channel.closed:
            self._reading = False
            # epoll cannot wait for nothing, so a paused pipe leaves the selector altogether.
            self._loop.unwatch(self.channel)

    def resume(self) -> None:
        """Read again after `pause`."""
        if not self._reading and not self.channel.closed:
            self._reading = True
            self._loop.watch(self.channel, self._readable, self._writable)
            self._loop.interest(self.channel, read=True, write=self.channel.pending > 0)

    @property
    def paused(self) -> bool:
        return not self._reading

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
        if frame.tag == READY:
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


class WorkerPool:
    """Hands out workers, keeps `spares` of them ready, and keeps the template process alive.

    Spares are made in quiet moments, since a fork in the background doubles the latency of what
    runs beside it on a small machine; but at once when someone waits or none is left.

    :param import_patience: seconds after which a template that has not imported its modules counts as a problem
    """

    def __init__(
        self,
        loop: EventLoop,
        children: Children,
        entry: str,
        *,
        spares: int = 2,
        imports: Sequence[str] = (),
        python: str = sys.executable,
        import_patience: float = _IMPORT_PATIENCE,
    ) -> None:
        self._loop = loop
        self._children = children
        self._entry = entry
        self._imports = tuple(imports)
        self._python = python
        self._import_patience = import_patience
        self._preload: tuple[str, ...] = ()
        self._without_preload = False
        self._wanted_spares = spares
        self._spares: deque[WorkerHandle] = deque()
        self._forking: list[WorkerHandle] = []
        self._outdated: set[WorkerHandle] = set()
        self._waiting: deque[Callable[[WorkerHandle], None]] = deque()
        self._template_pid: int | None = None
        self._control: socket.socket | None = None
        self._template_ready = False
        self._started_at = self._ready_at = 0.0
        self._pause = _FIRST_PAUSE
        self._crashes = 0
        self._busy_until = 0.0
        self._timer: Timer | None = None
        self._restart_timer: Timer | None = None
        self._closing = False
        self._template_problems: tuple[str, ...] = ()
        self._template_fails = False
        self._fork_problem: str | None = None
        self._last_probe = 0.0
        self.on_change: Callable[[], None] = lambda: None

    # -- for the supervisor

    def start(self) -> None:
        """Start the template process."""
        self._start_template()

    def configure(self, spares: int, preload: Sequence[str]) -> None:
        """Set how many spares are kept and what is imported ahead; a new list makes a new template."""
        self._wanted_spares = spares
        if tuple(preload) != self._preload:
            self._preload = tuple(preload)
            self._without_preload = False
            self._crashes = 0
            self._replace_template()
        self._retire_surplus()
        self._plan()

    def take(self, on_worker: Callable[[WorkerHandle], None]) -> Callable[[], None]:
        """Call `on_worker` with a worker, at once if there is a spare; returns how to cancel that."""
        self._busy_until = time.monotonic() + _QUIET
        while self._spares:
            worker = self._spares.popleft()
            # Its death may be known to the kernel, and its SIGCHLD still be unread.
            if not worker.ended and worker.pid is not None and not self._children.has_ended(worker.pid):
                on_worker(worker)
                self._plan()
                return lambda: None
        self._waiting.append(on_worker)
        self._fork_as_needed()

        def cancel() -> None:
            if on_worker in self._waiting:
                self._waiting.remove(on_worker)

        return cancel

    def probe(self) -> None:
        """Find out whether a worker can be made, by making one; the oldest spare goes when it is there."""
        now = time.monotonic()
        if now - self._last_probe > _PROBES_APART and not self._forking:
            self._last_probe = now
            if not self._fork():
                self._report(fork="there is no template process to fork workers")

    def note_activity(self) -> None:
        """Say that something is going on: spares wait for a quiet moment."""
        self._busy_until = time.monotonic() + _QUIET

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with the making of workers, a sentence each; empty when all is well."""
        return self._template_problems + ((self._fork_problem,) if self._fork_problem else ())

    @property
    def supplying(self) -> bool:
        """Whether workers can be made, be it without the modules of Preload."""
        return self._fork_problem is None and not self._template_fails

    @property
    def spare_pids(self) -> list[int]:
        return [worker.pid for worker in self._spares if worker.pid is not None]

    @property
    def template_pid(self) -> int | None:
        return self._template_pid

    def close(self) -> None:
        """End the template process and the spares."""
        self._closing = True
        for timer in (self._timer, self._restart_timer):
            if timer is not None:
                timer.cancel()
        self._discard_spares()
        self._drop_template()

    # -- the template process

    def _start_template(self) -> None:
        self._restart_timer = None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        preload = () if self._without_preload else self._preload
        # Isolated: neither PYTHONPATH nor the folder we stand in may shadow what an environment holds.
        python = own_python() if self._python == sys.executable else [self._python, "-I"]
        argv = [*python, "-m", "ska_oet_device.mptools", str(os.getpid()), self._entry]
        try:
            pid = spawn([*argv, *self._imports, *preload], dict(os.environ), {CONTROL_FD: theirs.fileno()})
        except OSError as error:
            ours.close()
            self._report(template=[f"the template process cannot be started: {error}"], fails=True)
            self._restart_timer = self._loop.call_later(_LONGEST_PAUSE, self._start_template)
            return
        finally:
            theirs.close()
        ours.setblocking(False)
        self._template_pid, self._control, self._template_ready = pid, ours, False
        self._started_at = time.monotonic()
        self._loop.watch(ours, lambda: self._template_speaks(ours))
        self._children.watch(pid, lambda status: self._template_ended(pid, status))
        if self.supplying:
            self.on_change()  # whoever looks whether the template is stopped has to know which one it is
        self._fork_as_needed()

    def _template_speaks(self, control: socket.socket) -> None:
        try:
            data = control.recv(REPORT_SIZE)
        except ConnectionResetError:  # it was killed before it had read our request
            data = b""
        if not data:
            self._loop.unwatch(control)  # its end is told by waitpid
            return
        problems = json.loads(data)["problems"]
        self._template_ready = True
        self._ready_at = time.monotonic()
        self._pause = _FIRST_PAUSE
        may_give_up = self._preload and not self._without_preload
        if may_give_up and any("starts a thread" in problem for problem in problems):
            self._give_up_preload(problems)
            return
        if not self._without_preload:
            self._crashes = 0
            self._report(template=problems)
        elif self._template_fails:
            self._report(template=[_WITHOUT_PRELOAD])
        self._plan()

    def _give_up_preload(self, problems: Sequence[str]) -> None:
        """Go on without the modules of Preload: scripts import them themselves, a little later."""
        self._without_preload = True
        self._report(template=[*problems, _WITHOUT_PRELOAD])
        self._replace_template()

    def _template_ended(self, pid: int, status: ExitStatus) -> None:
        if pid != self._template_pid or self._closing:
            return
        was_ready = self._template_ready
        self._forget_template()
        self._crashes += 1
        _log.error("the template process %d ended: %s", pid, status)
        if not was_ready and self._preload and not self._without_preload:
            self._give_up_preload([f"the template process ended while it imported its modules: {status}"])
            return
        if not was_ready:
            self._report(template=[f"the template process ended: {status}"], fails=True)
        self._restart_timer = self._loop.call_later(self._pause, self._start_template)
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    def _forget_template(self) -> None:
        if self._control is not None:
            self._loop.unwatch(self._control)
            self._control.close()
        self._control = self._template_pid = None
        self._template_ready = False

    def _drop_template(self) -> None:
        pid = self._template_pid
        self._forget_template()
        if pid is not None:
            send_signal(pid, signal.SIGKILL)

    def _replace_template(self) -> None:
        self._drop_template()
        self._discard_spares()
        self._outdated.update(self._forking)
        if self._restart_timer is not None:
            self._restart_timer.cancel()
        self._start_template()

    def _report(self, *, template: Sequence[str] | None = None, fails: bool = False, fork: str | None = None) -> None:
        """Tell what is wrong with the template, if that is news, and with its forks.

        :param fails: the template makes no workers at all
        """
        before = self.problems
        if template is not None:
            self._template_problems, self._template_fails = tuple(template), fails
        self._fork_problem = fork
        if self.problems != before:
            for problem in self.problems:
                _log.error("%s", problem)
        if self.problems != before or template is not None:
            self.on_change()

    # -- forking

    def _plan(self) -> None:
        """Look again in a quiet moment whether spares are missing; does nothing when all are there."""
        if self._closing or self._timer is not None or not self._missing():
            return
        if not self._spares and not self._forking:
            self._fork()
            return
        delay = max(_QUIET, self._busy_until - time.monotonic())
        self._timer = self._loop.call_later(delay, self._quiet)

    def _quiet(self) -> None:
        self._timer = None
        if time.monotonic() >= self._busy_until and self._missing() and not self._forking:
            self._fork()
        self._plan()

    def _missing(self) -> int:
        return max(0, self._wanted_spares + len(self._waiting) - len(self._spares) - len(self._forking))

    def _fork_as_needed(self) -> None:
        while len(self._forking) < len(self._waiting) and self._fork():
            pass

    def _fork(self) -> bool:
        """Ask the template for one worker; False if there is no template now."""
        if self._control is None:
            return False
        ours, theirs = socket.socketpair()
        worker = WorkerHandle(self._loop, self._children, Channel(ours))
        worker.on_born, worker.on_failed = self._born, self._unborn
        worker.on_end = lambda status: self._spare_ended(worker)
        try:
            socket.send_fds(self._control, [b"fork"], [theirs.fileno()])
        except OSError as error:  # a full socket: hundreds are under way already; or the template is ending
            _log.debug("the template takes no request now: %s", error)
            worker.close()
            return False
        finally:
            theirs.close()
        self._forking.append(worker)
        worker.birth_deadline = self._loop.call_later(_FORK_PATIENCE, lambda: self._not_born(worker))
        return True

    def _not_born(self, worker: WorkerHandle) -> None:
        if self._closing:
            return
        # A template that is still importing forks when it has done so; its own end is noticed elsewhere.
        if self._template_ready:
            due, fault = self._ready_at + _FORK_PATIENCE, f"answered for {_FORK_PATIENCE:g} s"
        else:
            due = self._started_at + self._import_patience
            fault = f"imported its modules within {self._import_patience:g} s"
        left = due - time.monotonic()
        if left > 0:
            worker.birth_deadline = self._loop.call_later(left, lambda: self._not_born(worker))
        else:
            self._report(fork=f"no worker can be forked: the template has not {fault}")

    def _born(self, worker: WorkerHandle) -> None:
        self._forking.remove(worker)
        if self._fork_problem:
            self._report()
        if worker in self._outdated:
            self._outdated.discard(worker)
            assert worker.pid is not None
            send_signal(worker.pid, signal.SIGKILL)
        elif self._waiting:
            self._waiting.popleft()(worker)
        else:
            self._spares.append(worker)
            self._retire_surplus()
        self._fork_as_needed()
        self._plan()

    def _retire_surplus(self) -> None:
        """End the oldest spares, if there are more than are wanted: after a probe, or when fewer are wanted now."""
        while len(self._spares) > self._wanted_spares:
            retired = self._spares.popleft()
            if retired.pid is not None:
                send_signal(retired.pid, signal.SIGTERM)

    def _unborn(self, worker: WorkerHandle, reason: str) -> None:
        self._forking.remove(worker)
        self._outdated.discard(worker)
        if self._closing:
            return
        if self._control is None:
            return  # the next template makes another one; whoever waits still waits
        if reason != ENDED_UNBORN:
            self._report(fork=f"no worker can be forked: {reason}")
        if self._waiting or self._wanted_spares:
            self._timer = self._timer or self._loop.call_later(_LONGEST_PAUSE / 5, self._retry)

    def _retry(self) -> None:
        self._timer = None
        self._fork_as_needed()
        self._plan()

    def _spare_ended(self, worker: WorkerHandle) -> None:
        if worker in self._spares:
            self._spares.remove(worker)
            if not self._closing:
                self._busy_until = time.monotonic() + _QUIET
                self._timer = self._timer or self._loop.call_later(_QUIET, self._retry)

    def _discard_spares(self) -> None:
        spares, self._spares = self._spares, deque()
        for worker in spares:
            if worker.pid is not None:
                send_signal(worker.pid, signal.SIGKILL)
