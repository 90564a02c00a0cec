"""The supervisor of all scripts of one server: what main_loop does.

It takes the requests of the device server, lets one script of a device run at a time, and passes the messages of
scripts on.  It runs in the one thread of main, never blocks, and has the last word on how a procedure ended, since it
alone sees the process end.
"""

from __future__ import annotations

import logging
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from ...mptools import Children, EventLoop, Frame, WorkerPool, encode
from ..messages import PUBSUB, Broadcast, ContextChanged, LifecycleMessage, LimitOutput, Load, RunFunction, StopProcess
from ..script_message import label_of, said
from ..state import ProcedureState
from ..turns import Claim, in_the_way
from ._checks import CheckSupervisor
from ._environment_pools import EnvironmentPools
from ._guard import call_for
from ._orphans import Undertaker
from ._recorder import Recorder
from ._script import Announcer, Key, Shared, SupervisedScript
from ._shared_memory import SharedMemoryWatch

_log = logging.getLogger(__name__)


class _NeverBegun:
    """A procedure that a fault of ours keeps from being made: it is told to have failed, lest one wait for it."""

    def __init__(self, request: Load, announcer: Announcer) -> None:
        self._request = request
        self._announcer = announcer

    def fail_internally(self, error: Exception) -> None:
        """Tell its end."""
        device, uid = self._request.device, self._request.process_uid
        _log.critical("procedure %s#%d cannot be made", device, uid, exc_info=error)
        reason = f"internal fault of OET: {type(error).__name__}: {error}"
        self._announcer.announce(LifecycleMessage(uid, ProcedureState.FAILED, device, time.time(), reason=reason))


class ScriptSupervisor:
    """Supervises the scripts of every device of this server."""

    def __init__(
        self,
        loop: EventLoop,
        children: Children,
        pool: WorkerPool,
        announcer: Announcer,
        *,
        entry: str = "",
        check_entry: str = "",
        imports: tuple[str, ...] = (),
        record: Callable[[socket.socket], None] = lambda control: None,
    ) -> None:
        """Create a supervisor.

        :param entry: what workers of environments run; `imports` is what their templates import
        :param check_entry: what workers of checks run
        :param record: what the recorder does, with its end of the socket to this process
        """
        self._announcer = announcer
        self._environments = EnvironmentPools(loop, children, entry, imports, self._environment_broken)
        undertaker, memory_watch = Undertaker(loop, children), SharedMemoryWatch(loop)
        self._recorder = Recorder(loop, children, record)
        self._shared = Shared(
            loop, children, pool, undertaker, self._environments, announcer, memory_watch, self._recorder, self
        )
        self.checks = CheckSupervisor(self._shared, announcer.tell, check_entry, imports)
        self._scripts: dict[Key, SupervisedScript] = {}
        self._by_device: defaultdict[str, dict[Key, SupervisedScript]] = defaultdict(dict)
        self._listeners: defaultdict[str, dict[Key, SupervisedScript]] = defaultdict(dict)
        self._paused: dict[Key, SupervisedScript] = {}
        self.on_idle: Callable[[], None] = lambda: None

    # -- requests of the device server

    def create(self, request: Load) -> None:
        """Have a worker load a script."""
        call_for(_NeverBegun(request, self._announcer), self._create, request)

    def _create(self, request: Load) -> None:
        script = SupervisedScript(request, self._shared)
        if script.key in self._scripts:
            _log.warning("procedure %s#%d exists already", *script.key)
            return
        self._scripts[script.key] = self._by_device[script.key[0]][script.key] = script
        script.begin()

    def run(self, request: RunFunction) -> None:
        """Have a function called, now or at the procedure's turn; nothing if the procedure has ended meanwhile."""
        script = self._scripts.get((request.device, request.process_uid))
        if script is not None:
            script.ask(request)
            self._take_turn(script)

    def stop(self, request: StopProcess) -> None:
        """End a procedure, whatever it is doing."""
        script = self._scripts.get((request.device, request.process_uid))
        if script is not None:
            script.stop("stopped on request", request.reason)

    def broadcast(self, request: Broadcast) -> None:
        """Publish a message in every script of a device."""
        frame = encode(PUBSUB, label_of(request.device, 0) + said(request.topic, request.data, time.time()))
        for script in self._listeners_of(request.device):
            script.hear(frame)

    def change_context(self, change: ContextChanged) -> None:
        """Have what is called of a device's scripts from now on be given another context."""
        for script in self._of(change.device):
            script.change_context(change)

    def limit_output(self, request: LimitOutput) -> None:
        """Keep so much of what the scripts of a device print; there will be some, so the recorder starts."""
        self._recorder.start()
        for script in self._of(request.device):
            script.limit_output(request.limit)

    def stop_all(self, reason: str) -> None:
        """End every procedure with grace; `on_idle` is called when none is left but those that cannot be killed."""
        if self._is_idle:
            self.on_idle()
        for script in self._all():
            script.stop(reason)

    def kill_all(self) -> None:
        """Let no procedure have its grace period any longer, nor what it has left behind much time to be gone."""
        self._shared.undertaker.give_up_soon()
        for script in self._all():
            script.kill("the server was told to end at once: the process was killed")

    @property
    def problems(self) -> tuple[str, ...]:
        """What keeps the output of scripts from being recorded, a sentence each."""
        return self._recorder.problems

    def on_problems(self, tell: Callable[[], None]) -> None:
        """Have it called when `problems` are others."""
        self._recorder.on_change = tell

    @property
    def living(self) -> list[dict[str, Any]]:
        """What a new device server must know of each living procedure."""
        return [script.description() for script in self._scripts.values() if not script.is_told]

    def resume_paused(self) -> None:
        """Read again from the workers that had to wait for the device server."""
        paused, self._paused = self._paused, {}
        for script in paused.values():
            script.resume()

    def close(self) -> None:
        """End the checks, the templates of environments, and the recorder."""
        self.checks.close()
        self._environments.close()
        self._recorder.close()

    def _all(self) -> list[SupervisedScript]:
        """Return the scripts that there are now: some may end while one goes through them."""
        return list(self._scripts.values())

    # Of a device, that there are now: what one does must not cost what all of the server cost.

    def _of(self, device: str) -> list[SupervisedScript]:
        return list(self._by_device[device].values()) if device in self._by_device else []

    def _listeners_of(self, device: str) -> list[SupervisedScript]:
        return list(self._listeners[device].values()) if device in self._listeners else []

    def _forget(self, script: SupervisedScript) -> None:
        del self._scripts[script.key]
        for of_device in (self._by_device, self._listeners):
            scripts = of_device[script.key[0]]
            scripts.pop(script.key, None)
            if not scripts:
                del of_device[script.key[0]]

    def _environment_broken(self, folder: str, reason: str) -> None:
        for script in self._all():
            script.lose_environment(folder, reason)

    # -- whose turn it is

    def _take_turn(self, script: SupervisedScript, *, goes_on: bool = False) -> None:
        """Start what is due, or drop it; what waits for the end of another procedure stays due."""
        device, uid = script.key
        while (run := script.due_run) is not None and not self._is_awaited(device, run.after):
            obstacle = in_the_way(uid, self._claims(device), is_abort=run.after is not None, goes_on=goes_on)
            if obstacle is None:
                script.call_next()
            else:
                script.drop_next(obstacle.drop(run.fn_name))

    def _claims(self, device: str) -> Iterator[Claim]:
        return (claim for script in self._of(device) if (claim := script.claim) is not None)

    def _is_awaited(self, device: str, after: int | None) -> bool:
        """Say whether the end of a procedure is still to come; nobody waits for one that cannot be killed."""
        script = self._scripts.get((device, after)) if after is not None else None
        return script is not None and not script.is_unknown

    def _wake_held(self, device: str) -> None:
        for script in self._of(device):
            self._take_turn(script)

    # -- what scripts tell, and ask of their neighbours

    def pass_on(self, script: SupervisedScript, frame: Frame) -> None:
        """Pass a script's message on to the device server and to the other scripts of its device."""
        data = encode(PUBSUB, script.label + frame.payload)
        if not self._announcer.pubsub(data, waits=script.can_wait):
            self._paused[script.key] = script
            script.pause()
        for other in self._listeners_of(script.key[0]):
            if other is not script:
                other.hear(data)

    def listens(self, script: SupervisedScript) -> None:
        """Have it hear what others of its device publish."""
        self._listeners[script.key[0]][script.key] = script

    def became_ready(self, script: SupervisedScript) -> None:
        """Let it go on with what is due, and then the others of its device."""
        self._take_turn(script, goes_on=script.is_called)
        self._wake_held(script.key[0])

    def ended(self, script: SupervisedScript) -> None:
        """Whoever waited for its end may run, or learns that it cannot; one whose process is there is kept."""
        if not script.is_unknown and self._scripts.get(script.key) is script:
            self._forget(script)
        try:
            self._wake_held(script.key[0])
        finally:  # whatever is wrong with one of them
            if self._is_idle:
                self.on_idle()

    @property
    def _is_idle(self) -> bool:
        """Whether there is no procedure that one could wait for."""
        return all(script.is_unknown or script.is_told for script in self._all())
