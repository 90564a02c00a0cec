"""The main process: starts the device server and the template of the workers, and runs main_loop.

``OetDevice 01`` runs this.  The process has one thread, loads neither Tango nor anything else
that is large, never forks and never waits for anyone: it routes, reaps, kills, and keeps the
deadlines.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from . import __version__
from .config import Settings, state_directory
from .logs import configure_server_logging
from .mptools import (
    BrokenPipeProtocolError,
    Channel,
    Children,
    EventLoop,
    ExitStatus,
    Frame,
    NotPlainError,
    WorkerPool,
    become_subreaper,
    own_python,
    send_signal,
    set_up_process,
    spawn,
)
from .procedure.domain import _messages as messages
from .procedure.domain._journal import Journal
from .procedure.domain._supervisor import ScriptSupervisor
from .procedure.domain._unheard import UnheardFile

_log = logging.getLogger(__name__)

LINK_FD = 3
WORKER_ENTRY = "ska_oet_device.procedure.domain._worker_process:worker_main"
TEMPLATE_IMPORTS = ("tango",)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0  # seconds between a crash of the device server and its next start
_CRASHES_IN_A_ROW = 8
_STABLE_AFTER = 60.0  # seconds of service after which earlier crashes are forgotten
_SHUTDOWN_PATIENCE = 5.0  # seconds for the device server to end when asked to


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
        on_message: Callable[[object], None],
        on_uncongested: Callable[[], None],
        on_final_end: Callable[[int], None],
        is_needed: Callable[[], bool],
    ) -> None:
        self._loop = loop
        self._children = children
        self._journal = journal
        self._arguments = list(arguments)
        self._on_message = on_message
        self._on_uncongested = on_uncongested
        self._on_final_end = on_final_end
        self._is_needed = is_needed
        self._problem = ""
        self._channel: Channel | None = None
        self._pid: int | None = None
        self._ready_at: float | None = None
        self.has_served = False
        self._crashes = 0
        self._ending = False
        self.welcome: Callable[[], messages.Welcome] = lambda: messages.Welcome(os.getpid(), "", [])

    def start(self) -> None:
        """Start the process and greet it."""
        ours, theirs = socket.socketpair()
        argv = [*own_python(), "-m", "ska_oet_device.procedure.ui", str(LINK_FD), *self._arguments]
        with theirs:
            self._pid = spawn(argv, dict(os.environ), {LINK_FD: theirs.fileno()})
        _log.info("the device server is started: process %d", self._pid)
        self._ready_at = None
        self._problem = ""
        self._channel = Channel(ours, corked=True)
        self._loop.watch(self._channel, self._readable, self._writable)
        self._children.watch(self._pid, self._ended)
        self._channel.send(messages.to_frame(self.welcome()))
        self._journal.connect(self._channel, lambda: self._loop.before_waiting(self._flush))
        self._loop.before_waiting(self._flush)

    def note_ready(self) -> None:
        """The devices are exported."""
        self.has_served = True
        self._ready_at = time.monotonic()

    def note_problem(self, reason: str) -> None:
        """It is about to end, since it cannot start."""
        self._problem = reason

    def shut_down(self) -> None:
        """Have it end; `on_final_end` is called when it has."""
        self._ending = True
        pid = self._pid
        if pid is None:
            self._on_final_end(0)
            return
        self._journal.send(messages.to_frame(messages.Shutdown()))
        self._loop.call_later(_SHUTDOWN_PATIENCE, lambda: self._insist(pid))

    def _insist(self, pid: int) -> None:
        if self._pid == pid:
            _log.error("the device server %d does not end: it is killed", pid)
            send_signal(pid, signal.SIGKILL)

    def _flush(self) -> None:
        """Send what has gathered; the rest follows when the device server has read some of it."""
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

    def _ended(self, status: ExitStatus) -> None:
        channel, self._channel, self._pid = self._channel, None, None
        self._journal.disconnect()
        if channel is not None:
            self._take(channel.drain())  # its last words arrive in the same instant as its end
            self._loop.unwatch(channel)
            channel.close()
        self._on_uncongested()  # nobody listens any more: scripts need not wait
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


class MainProcess:
    """The parts of the main process, and how they are joined."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.loop = EventLoop()
        self.children = Children()
        self.children.disclaim_present()
        self.pool = WorkerPool(self.loop, self.children, WORKER_ENTRY, imports=TEMPLATE_IMPORTS)
        self.journal = Journal()
        self.supervisor = ScriptSupervisor(
            self.loop, self.children, self.pool, self.journal, entry=WORKER_ENTRY, imports=TEMPLATE_IMPORTS
        )
        self.keeper = DeviceServerKeeper(
            self.loop,
            self.children,
            self.journal,
            arguments,
            on_message=self._handle,
            on_uncongested=self.supervisor.resume_paused,
            on_final_end=self._device_server_is_gone,
            is_needed=lambda: bool(self.supervisor.living) or self.journal.has_unheard,
        )
        self._unheard = UnheardFile(_unheard_path(arguments))
        self.journal.repeat(self._unheard.read())
        self.journal.on_all_heard = self._forget_unheard
        self.boot = uuid.uuid4().hex
        self.keeper.welcome = lambda: messages.Welcome(
            os.getpid(),
            self.boot,
            self.supervisor.living,
            list(self.pool.problems),
            self.pool.supplying,
            self.pool.template_pid,
            self.keeper.has_served,
        )
        self.pool.on_change = lambda: self.journal.send(
            messages.to_frame(messages.Supply(list(self.pool.problems), self.pool.supplying, self.pool.template_pid))
        )
        self.exit_status = 0
        self._shutting_down = False
        self._handlers: dict[type, Callable[..., None]] = {
            messages.CreateProcess: self.supervisor.create,
            messages.RunFunction: self.supervisor.run,
            messages.StopProcess: self.supervisor.stop,
            messages.Broadcast: self.supervisor.broadcast,
            messages.Configure: lambda message: self.pool.configure(message.spares, message.preload),
            messages.Acknowledge: lambda message: self.journal.acknowledge(message.number),
            messages.Ping: self._answer_ping,
            messages.ServerReady: lambda message: self.keeper.note_ready(),
            messages.CannotServe: lambda message: self.keeper.note_problem(message.reason),
            messages.StopEverything: lambda message: self._begin_shutdown(),
        }

    def _handle(self, message: object) -> None:
        if self._shutting_down and isinstance(message, messages.CreateProcess):
            self.supervisor.create(message)
            self.supervisor.stop(messages.StopProcess(message.device, message.process_uid))
            return
        self._handlers[type(message)](message)

    def _forget_unheard(self) -> None:
        self._unheard.remove()
        self.journal.on_all_heard = lambda: None

    def _answer_ping(self, message: messages.Ping) -> None:
        """Somebody asks for the health of this server: answer, and try whether a worker can be made."""
        self.journal.send(messages.to_frame(messages.Pong(message.token)))
        self.pool.probe()

    # -- shutdown: the scripts first, while the device server can still tell of it; then everything

    def shut_down(self) -> None:
        """SIGTERM or SIGINT: end the scripts with grace, the device server, the rest; at once if asked twice."""
        if self._shutting_down:
            _log.warning("asked to end for the second time: what runs is killed")
            self.supervisor.kill_all()
        else:
            self._begin_shutdown()

    def _begin_shutdown(self) -> None:
        if not self._shutting_down:
            _log.info("the server was asked to end")
            self._shutting_down = True
            self.supervisor.on_idle = self.keeper.shut_down
            self.supervisor.stop_all("the server was shut down")

    def _device_server_is_gone(self, status: int) -> None:
        self.exit_status = self.exit_status or status
        if self._shutting_down and not self.supervisor.living:
            self.loop.stop()
            return
        self._shutting_down = True
        self.supervisor.on_idle = self.loop.stop
        self.supervisor.stop_all("the server was shut down")

    def run(self) -> int:
        """Run until the end; returns the exit status."""
        main_loop(self)
        self._unheard.write(self.journal.unheard())
        self.pool.close()
        self.supervisor.close()
        _end_all_children(self.children)
        self.loop.close()
        return self.exit_status


def _unheard_path(arguments: Sequence[str]) -> Path:
    """Return where what cannot be told is kept: for this server of this Tango database alone."""
    host, instance = os.environ.get("TANGO_HOST", ""), next(iter(arguments), "")
    name = re.sub(r"[^\w.-]", "_", f"unheard-{host}-{instance}")
    return state_directory(Settings()) / f"{name}.json"


def main_loop(process: MainProcess) -> None:
    """Start the processes, then route, reap, kill and keep deadlines until the server ends.

    Creates and manages the ScriptWorker processes that ProcessManager asks for.
    """
    loop = process.loop
    loop.on_signal(signal.SIGCHLD, process.children.reap)
    loop.on_signal(signal.SIGTERM, process.shut_down)
    loop.on_signal(signal.SIGINT, process.shut_down)
    process.keeper.start()
    process.pool.start()
    loop.run()


def _end_all_children(children: Children) -> None:
    """Kill whatever is still there, and leave when nothing is: the last act, so waiting is allowed."""
    deadline = time.monotonic() + 2.0
    while time.monotonic() < deadline:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            if not children.present():
                return
            for orphan in children.orphans():
                send_signal(orphan, signal.SIGKILL)
            time.sleep(0.002)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server; the arguments are those of any Tango device server, the instance name first."""
    set_up_process()
    arguments = sys.argv[1:] if argv is None else list(argv)
    configure_server_logging(arguments)
    _log.info("ska-oet-device %s is started: process %d, %s", __version__, os.getpid(), " ".join(arguments))
    become_subreaper()
    status = MainProcess(arguments).run()
    _log.info("the server has ended with status %d", status)
    return status
