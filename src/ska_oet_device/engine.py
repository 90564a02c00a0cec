"""The engine without Tango: scripts in supervised processes, for a Python program that is no device server.

    with start_engine() as service:
        service.prepare(PrepareProcessCommand(FileSystemScript("file:///scripts/hello.py"), ProcedureInput()))

The caller's process takes the place of the device server's: main, the template and the workers are processes below it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .config import Settings, bounded, chosen_state_directory, state_directory
from .duties import Duty, repeated
from .errors import OetError
from .event import Bus
from .mptools import own_python, send_signal, spawn
from .procedure.application import ScriptExecutionService
from .procedure.history import HistoryStore, MemoryHistory
from .procedure.hosting import DeviceState, ServiceKeeper
from .procedure.link import Link, reap_escaped
from .procedure.messages import Configure, StopEverything
from .procedure.output import OutputFiles
from .procedure.ownership import Owner, state_folder, state_key
from .procedure.script import ExecutableScript, FileSystemScript

__all__ = ["EngineError", "start_engine"]

_log = logging.getLogger(__name__)

_DATABASE = "engine"
"""What stands for the Tango database in the name of a device's state: no device server shares it."""

_LINK_FD = 3
_TICK = 1.0  # seconds
_SCRIPTS_PATIENCE = 13.0  # seconds beyond the grace period for main to end all scripts: it gives up itself after 10
_PATIENCE = 5.0  # seconds for main to do what it has been told to do at once
_LAST_WORDS = 2.0  # seconds until everything is in the history
_LOOK_AGAIN = 0.002  # seconds


class EngineError(OetError):
    """The engine's main process cannot be started."""


@contextlib.contextmanager
def start_engine(
    settings: Settings | None = None,
    *,
    device: str = "engine",
    abort_script: ExecutableScript | None = None,
    bus: Bus | None = None,
) -> Iterator[ScriptExecutionService]:
    """Start main, template and workers, and give the service that is connected with them.

    Without a `state_directory` or a `history_url` in `settings` nothing is written to the disk: the history is in
    memory, and scripts print where this process does.  With one of them the history is durable, output is kept in
    files, and the next engine of the same device goes on where this one has ended.

    At the end of the block all scripts are stopped, with grace; their ends are recorded, and all processes, threads and
    descriptors are given back.  Should this process die, main does the same.  May be used by any thread, and
    several times at once.

    :param settings: as the device properties; the defaults are theirs
    :param device: the name under which history and output are kept, and which scripts see
    :param abort_script: what a stop runs afterwards; None: the one that `settings` names, if any
    :param bus: where requests and what happens are published; None: a new one
    :raises StateHeldError: another process uses the state of this device
    :raises EngineError: main cannot be started
    """
    settings = settings or Settings()
    durable = bool(settings.state_directory or settings.history_url)
    folder = state_folder(state_directory(settings), state_key(_DATABASE, device)) if durable else None
    if abort_script is None and settings.abort_script:
        abort_script = FileSystemScript(settings.abort_script)
    # What is held is given back last: it belongs to main, as long as that lives.
    with contextlib.ExitStack() as held, _Main(folder) as main:
        stores = _open_stores(settings, device, main.owner, held) if durable else _Stores(MemoryHistory(device))
        service = ScriptExecutionService(
            abort_script,
            device=device,
            uri=lambda: device,
            settings=settings,
            bus=bus,
            history=stores.history,
            output=stores.output,
        )
        service.look_for_abort_script()
        keeper = ServiceKeeper(service, main.link, stores.state)
        main.serve(service)

        def tick() -> None:
            main.link.tell_recorded()
            stores.look_after()
            keeper.look_after()

        keeper.join()
        keeper.limit_output()
        main.link.drop_unclaimed()
        with repeated(Duty("look after the engine"), tick, _TICK, "engine"):
            try:
                yield service
            finally:
                main.stop_scripts()
                stores.history.wait(_LAST_WORDS)
                stores.history.close()
                stores.history.wait(_LAST_WORDS)


@dataclass(frozen=True)
class _Stores:
    """What an engine keeps: the history; if that is durable, the state of its device and the output of scripts, too."""

    history: MemoryHistory
    output: OutputFiles | None = None
    state: DeviceState | None = None
    look_after: Callable[[], None] = lambda: None


def _open_stores(settings: Settings, device: str, owner: Owner, held: contextlib.ExitStack) -> _Stores:
    """Open the stores of a durable engine, and have `held` close them.

    :raises StateHeldError: another process uses the state of this device
    """
    is_default = not chosen_state_directory(settings)
    state = DeviceState(state_directory(settings), _DATABASE, device, owner, is_default=is_default)
    held.callback(state.close)
    databases = HistoryStore(owner)
    held.callback(databases.close)
    history, _ = state.open_history(databases, settings.history_url)
    if state.problem:
        _log.error("%s", state.problem)
    return _Stores(history, None if state.problem else state.output, state, databases.look_after)


class _Main:
    """The main process of one engine, as its caller sees it."""

    def __init__(self, folder: Path | None) -> None:
        """Nothing is started yet.

        :param folder: where main leaves what it can tell to nobody; None: it does not
        """
        self._unheard = str(folder / "unheard.json") if folder is not None else ""
        self._service: ScriptExecutionService | None = None
        self._scripts_ended = threading.Event()

    def __enter__(self) -> _Main:
        """Start it, and wait until it answers.

        :raises EngineError: it cannot be started
        """
        ours, theirs = socket.socketpair()
        argv = [*own_python(), "-m", "ska_oet_device._engine_main"]
        arguments = [str(_LINK_FD), str(os.getpid()), self._unheard, _verbosity()]
        with theirs:
            try:
                self._pid = spawn([*argv, *arguments], dict(os.environ), {_LINK_FD: theirs.fileno()})
            except OSError as error:
                ours.close()
                raise EngineError(f"the engine's main process cannot be started: {error}") from error
        self.link = Link(ours)
        self.link.on_shutdown = self._have_ended
        try:
            self.link.start()
            if self.link.main.lost:
                raise EngineError(f"the engine's main process cannot be started: {self.link.main.lost}")
        except BaseException as error:
            self.__exit__()
            if isinstance(error, TimeoutError):
                raise EngineError(f"the engine's main process does not answer: {error}") from error
            raise
        return self

    @property
    def owner(self) -> Owner:
        """The process that owns what the device keeps."""
        return Owner.of_main(self.link.main.boot, self._pid)

    def serve(self, service: ScriptExecutionService) -> None:
        """Prepare for the scripts of `service`; should main die, they are told to have failed."""
        self._service = service
        settings = service.settings
        self.link.send(Configure(settings.spare_workers, list(settings.preload)))

    def _have_ended(self) -> None:
        """Main says that no script lives any more, or is gone itself.  Thread of the link."""
        if self.link.main.lost and self._service is not None:
            _log.error("%s", self.link.main.lost)
            reaped = reap_escaped(self._service.unfinished)
            self._service.settle(self._service.unfinished, reaped, cause="main ended")
        self._scripts_ended.set()

    def stop_scripts(self) -> None:
        """Stop what the service has started, and wait until all of it has ended."""
        assert self._service is not None
        self._service.shutdown()
        self.link.send(StopEverything())
        if self._scripts_ended.wait(bounded(self._service.settings.stop_grace_period + _SCRIPTS_PATIENCE)):
            return
        send_signal(self._pid, signal.SIGTERM)  # as somebody who asks it for the second time, and does so at once
        if self._scripts_ended.wait(_PATIENCE):
            return
        _log.error("the engine's main process %d does not end its scripts: it is killed", self._pid)
        send_signal(self._pid, signal.SIGKILL)
        self._scripts_ended.wait(_PATIENCE)

    def __exit__(self, *exc: object) -> None:
        """Tell main what it need not keep, and wait until it is gone."""
        self.link.tell_recorded()
        self.link.close()
        deadline = time.monotonic() + _PATIENCE
        while not self._is_gone():
            if time.monotonic() > deadline:
                send_signal(self._pid, signal.SIGKILL)
            time.sleep(_LOOK_AGAIN)

    def _is_gone(self) -> bool:
        try:
            return os.waitpid(self._pid, os.WNOHANG)[0] != 0
        except ChildProcessError:  # the caller has reaped it, or ignores SIGCHLD
            return True


def _verbosity() -> str:
    """Return the option that has main log what the caller would log of this package."""
    level = logging.getLogger(__package__).getEffectiveLevel()
    return "-v0" if level > logging.INFO else "-v1" if level > logging.DEBUG else "-v3"
