"""The main process: starts the device server and the template of the workers, and runs main_loop.

``OetDevice 01`` runs this.  The process has one thread, loads neither Tango nor anything else
that is large, never forks and never waits for anyone: it routes, reaps, kills, and keeps the
deadlines.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from . import __version__
from .config import HISTORY_URL_VARIABLE, Settings, state_directory
from .database_wait import DatabaseWaitError, split_arguments
from .logs import configure_server_logging
from .mptools import (
    Children,
    EventLoop,
    Signalled,
    WorkerPool,
    become_subreaper,
    set_up_process,
    take_variable,
    title_of,
)
from .own_files import file_name_of
from .procedure import messages
from .procedure.supervision import DeviceServerKeeper, Journal, ScriptSupervisor, UnheardFile

_log = logging.getLogger(__name__)

WORKER_ENTRY = "ska_oet_device.procedure.worker._process:worker_main"
CHECK_ENTRY = "ska_oet_device.procedure.worker._check_process:check_main"
TEMPLATE_IMPORTS = ("tango",)
_LAST_PATIENCE = 5.0  # seconds for the killed to be gone
_MOST_NAMED = 20  # of those that are not


class Peer(Protocol):
    """Who is at the other end of main's pipe: the device server process, or the caller of an engine."""

    has_served: bool

    def start(self) -> None:
        """Open the pipe and greet."""

    def shut_down(self) -> None:
        """Say Shutdown; `MainProcess.peer_is_gone` is called when the peer has ended, or does not."""


class MainProcess:
    """The parts of the main process, and how they are joined."""

    def __init__(
        self, find_peer: Callable[[MainProcess], Peer], unheard: Path | None, imports: tuple[str, ...] = ()
    ) -> None:
        """Start nothing yet.

        :param find_peer: returns who is to be spoken with
        :param unheard: the file for what can be told to nobody; None: it is not kept
        :param imports: what workers find imported whatever is configured
        """
        self.loop = EventLoop()
        self.children = Children()
        self.children.disclaim_present()
        self.pool = WorkerPool(self.loop, self.children, WORKER_ENTRY, imports=imports, largest=messages.FROM_WORKER)
        self.journal = Journal()
        self.supervisor = ScriptSupervisor(
            self.loop,
            self.children,
            self.pool,
            self.journal,
            entry=WORKER_ENTRY,
            check_entry=CHECK_ENTRY,
            imports=imports,
            record=_record,
        )
        self._unheard = UnheardFile(unheard)
        self.journal.repeat(self._unheard.read())
        self._left = self.journal.unheard()
        self.journal.on_all_heard = self._forget_unheard
        self.boot = os.urandom(16).hex()
        self.pool.on_change = self._tell_supply
        self.supervisor.on_problems(self._tell_supply)
        self.exit_status = 0
        self.announce: Callable[..., None] = lambda *assignments: None
        self._shutting_down = False
        self._handlers: dict[type, Callable[..., None]] = {
            messages.Load: self.supervisor.create,
            messages.Check: self.supervisor.checks.create,
            messages.RunFunction: self.supervisor.run,
            messages.StopProcess: self.supervisor.stop,
            messages.Broadcast: self.supervisor.broadcast,
            messages.ContextChanged: self.supervisor.change_context,
            messages.LimitOutput: self.supervisor.limit_output,
            messages.Configure: self._configure,
            messages.Acknowledge: lambda message: self.journal.acknowledge(message.number),
            messages.Ping: self._answer_ping,
            messages.StopEverything: lambda message: self.begin_shutdown(),
        }
        self.peer = find_peer(self)

    def welcome(self) -> messages.Welcome:
        """Return what a new peer must know."""
        pool = self.pool
        return messages.Welcome(
            os.getpid(),
            self.boot,
            self.supervisor.living,
            self._problems,
            pool.supplying,
            pool.template_pid,
            self.peer.has_served,
        )

    @property
    def _problems(self) -> list[str]:
        return [*self.pool.problems, *self.supervisor.problems]

    def _tell_supply(self) -> None:
        supply = messages.Supply(self._problems, self.pool.supplying, self.pool.template_pid)
        self.journal.send(messages.to_frame(supply))

    @property
    def is_needed(self) -> bool:
        """Whether scripts live, or something that happened is not recorded yet."""
        return bool(self.supervisor.living) or self.journal.has_unheard

    def handle(self, message: object) -> None:
        """Do what the peer asks."""
        if self._shutting_down and isinstance(message, messages.Check):
            return
        if self._shutting_down and isinstance(message, messages.Load):
            self.supervisor.create(message)
            self.supervisor.stop(messages.StopProcess(message.device, message.process_uid))
            return
        self._handlers[type(message)](message)

    def _configure(self, message: messages.Configure) -> None:
        self.pool.configure(message.spares, message.preload)
        self.supervisor.checks.configure(message.preload)

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
            self.begin_shutdown()

    def begin_shutdown(self) -> None:
        """End as `shut_down` does; asking twice changes nothing: a terminal may send more than one SIGHUP."""
        if not self._shutting_down:
            _log.info("the server was asked to end")
            self._shutting_down = True
            self.announce("STOPPING=1", "STATUS=scripts are ended")
            self.supervisor.checks.end_all()
            self.supervisor.on_idle = self.peer.shut_down
            self.supervisor.stop_all("the server was shut down")

    def peer_is_gone(self, status: int) -> None:
        """Nobody is there any more who could be told: end the scripts that live, and then this process.

        :param status: the exit status of this process
        """
        self.exit_status = self.exit_status or status
        if self._shutting_down and not self.supervisor.living:
            self.loop.stop()
            return
        self._shutting_down = True
        self.supervisor.checks.end_all()
        self.supervisor.on_idle = self.loop.stop
        self.supervisor.stop_all("the server was shut down")

    def tell_status(self, text: str) -> None:
        """Say in a sentence how the server is, to who has started it; and that it is ready, once it has served."""
        self.announce(f"STATUS={text}", *(["READY=1"] if self.peer.has_served else []))

    def run(self) -> int:
        """Run until the end; returns the exit status."""
        main_loop(self)
        unheard = self.journal.unheard()
        if unheard != self._left:  # else it is in the file already, which may be another main's by now
            self._unheard.write(unheard)
        self.pool.close()
        self.supervisor.close()
        _end_all_children(self.children)
        self.loop.close()
        # Nothing is left to be done.  Python takes its handlers back as it ends, and who asks once more just then would
        # have this process killed by the signal: to systemd, Kubernetes or Tango's Starter it would have failed.
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(signum, signal.SIG_IGN)
        return self.exit_status


def _record(control: socket.socket) -> None:
    """Be the recorder; in a fork of this process, which needs nothing of it itself."""
    from .procedure.recorder import serve

    serve(control)


def with_device_server(
    arguments: Sequence[str], environment: Mapping[str, str]
) -> Callable[[MainProcess], DeviceServerKeeper]:
    """Return what gives main a device server for its peer, with these arguments.

    :param environment: variables that it has alone, beside those of main
    """
    return lambda main: DeviceServerKeeper(
        main.loop,
        main.children,
        main.journal,
        arguments,
        environment=environment,
        welcome=main.welcome,
        on_message=main.handle,
        on_uncongested=main.supervisor.resume_paused,
        on_final_end=main.peer_is_gone,
        is_needed=lambda: main.is_needed,
        on_gone=main.supervisor.checks.end_all,
        on_status=main.tell_status,
    )


def _announcer(process: MainProcess) -> Callable[..., None]:
    """Return what tells the systemd that has started this process how it is; no child of it inherits the address."""
    address = os.environ.pop("NOTIFY_SOCKET", "")
    if not address:
        return lambda *assignments: None
    from .service_manager import ServiceManager  # not for a main that nobody asks

    return ServiceManager(address, process.loop.call_later).tell


def _unheard_path(arguments: Sequence[str]) -> Path:
    """Return where what cannot be told is kept: for this server of this Tango database alone."""
    host, instance = os.environ.get("TANGO_HOST", ""), next(iter(arguments), "")
    folder = state_directory(Settings())
    path = folder / f"unheard-{file_name_of(host, longest=100)}@{file_name_of(instance, longest=100)}.json"
    former = folder / (re.sub(r"[^\w.-]", "_", f"unheard-{host}-{instance}") + ".json")
    if former.is_file() and not former.is_symlink() and not path.exists():
        with contextlib.suppress(OSError):  # of an earlier version, which did not tell a_b from a:b
            former.rename(path)
    return path


def main_loop(process: MainProcess) -> None:
    """Start the processes, then route, reap, kill and keep deadlines until the server ends.

    Creates and manages the ScriptWorker processes that ProcessManager asks for.
    """
    loop = process.loop
    process.children.reap_in(loop)
    loop.on_signal(signal.SIGTERM, process.shut_down)
    loop.on_signal(signal.SIGINT, process.shut_down)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup(1) has it
        loop.on_signal(signal.SIGHUP, process.begin_shutdown)
    process.peer.start()
    process.pool.start()
    loop.run()


def _end_all_children(children: Children) -> None:
    """Kill whatever is still there, and leave when nothing is: the last act, so waiting is allowed."""
    deadline = time.monotonic() + _LAST_PATIENCE
    seen: set[int] = set()
    while left := children.end_all():
        if time.monotonic() > deadline or all(answer is Signalled.REFUSED for answer in left.values()):
            titles = ", ".join(f"{pid} ({title_of(pid)})" for pid in sorted(left)[:_MOST_NAMED])
            _log.critical("%d processes cannot be ended, and are left behind: %s", len(left), titles)
            return
        if left.keys() <= seen:  # else what they have made meanwhile comes first
            time.sleep(0.002)
        seen |= left.keys()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server; the arguments are those of any Tango device server, the instance name first.

    One more is of `database_wait`.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    if "--help" in arguments or "-h" in arguments:
        from .usage import TEXT  # not for a main that lives

        print(TEXT, end="")
        return 0
    set_up_process()
    configure_server_logging(arguments)
    _log.info("ska-oet-device %s is started: process %d, %s", __version__, os.getpid(), " ".join(arguments))
    try:
        tangos, _ = split_arguments(arguments, os.environ)
    except DatabaseWaitError as error:
        _log.error("the server cannot start: %s", error)
        return 1
    become_subreaper()
    own = {HISTORY_URL_VARIABLE: take_variable(HISTORY_URL_VARIABLE)}
    process = MainProcess(with_device_server(arguments, own), _unheard_path(tangos), TEMPLATE_IMPORTS)
    process.announce = _announcer(process)
    status = process.run()
    _log.info("the server has ended with status %d", status)
    return status
