"""The supervisor of all scripts of one server: what main_loop does.

It takes the requests of the device server, lets one script of a device run at a time, and passes the messages of
scripts on.  It runs in the one thread of main, never blocks, and has the last word on how a procedure ended, since it
alone sees the process end.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

from ...mptools import Children, EventLoop, Frame, WorkerPool, dumps, encode
from ..messages import PUBSUB, Broadcast, Load, RunFunction, StopProcess
from ..turns import in_the_way
from ._environment_pools import EnvironmentPools
from ._script import Announcer, Key, Shared, SupervisedScript

_log = logging.getLogger(__name__)


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
        imports: tuple[str, ...] = (),
    ) -> None:
        """Create a supervisor.

        :param entry: what workers of environments run; `imports` is what their templates import
        """
        self._announcer = announcer
        self._environments = EnvironmentPools(loop, children, entry, imports, self._environment_broken)
        self._shared = Shared(loop, children, pool, self._environments, announcer, self)
        self._scripts: dict[Key, SupervisedScript] = {}
        self.on_idle: Callable[[], None] = lambda: None

    # -- requests of the device server

    def create(self, request: Load) -> None:
        """Have a worker load a script."""
        script = SupervisedScript(request, self._shared)
        if script.key in self._scripts:
            _log.warning("procedure %s#%d exists already", *script.key)
            return
        self._scripts[script.key] = script
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
            script.stop("stopped on request")

    def broadcast(self, request: Broadcast) -> None:
        """Publish a message in every script of a device."""
        frame = encode(PUBSUB, dumps((request.device, 0, request.topic, request.data, time.time())))
        for script in self._of(request.device):
            script.hear(frame)

    def stop_all(self, reason: str) -> None:
        """End every procedure with grace; `on_idle` is called when none is left."""
        if not self._scripts:
            self.on_idle()
        for script in self._all():
            script.stop(reason)

    def kill_all(self) -> None:
        """Let no procedure have its grace period any longer."""
        for script in self._all():
            script.kill("the server was told to end at once: the process was killed")

    @property
    def living(self) -> list[dict[str, Any]]:
        """What a new device server must know of each living procedure."""
        return [script.description() for script in self._scripts.values()]

    def resume_paused(self) -> None:
        """Read again from the workers that had to wait for the device server."""
        for script in self._all():
            script.resume()

    def close(self) -> None:
        """End the templates of environments."""
        self._environments.close()

    def _all(self) -> list[SupervisedScript]:
        """Return the scripts that there are now: some may end while one goes through them."""
        return list(self._scripts.values())

    def _of(self, device: str) -> Iterator[SupervisedScript]:
        return (script for script in self._all() if script.key[0] == device)

    def _environment_broken(self, folder: str, reason: str) -> None:
        for script in self._all():
            script.lose_environment(folder, reason)

    # -- whose turn it is

    def _take_turn(self, script: SupervisedScript) -> None:
        """Start what is due, or drop it; what waits for the end of another procedure stays due."""
        device, uid = script.key
        while (run := script.due_run) is not None and (device, run.after) not in self._scripts:
            obstacle = in_the_way(uid, self._running(device), self._reserved(device), is_abort=run.after is not None)
            if obstacle is None:
                script.call_next()
            else:
                script.drop_next(obstacle.drop(run.fn_name))

    def _running(self, device: str) -> int | None:
        return next((script.key[1] for script in self._of(device) if script.has_turn), None)

    def _reserved(self, device: str) -> Iterator[int]:
        """Yield the abort scripts for which the next turn is kept."""
        return (script.key[1] for script in self._of(device) if script.awaits_an_end)

    def _wake_held(self, device: str) -> None:
        for script in self._of(device):
            self._take_turn(script)

    # -- what scripts tell, and ask of their neighbours

    def pass_on(self, script: SupervisedScript, frame: Frame) -> None:
        """Pass a script's message on to the device server and to the other scripts of its device."""
        data = encode(frame.tag, frame.payload)
        if not self._announcer.pubsub(data):
            script.pause()
        for other in self._of(script.key[0]):
            if other is not script:
                other.hear(data)

    def became_ready(self, script: SupervisedScript) -> None:
        """Let it go on with what is due, and then the others of its device."""
        self._take_turn(script)
        self._wake_held(script.key[0])

    def ended(self, script: SupervisedScript) -> None:
        """Forget it: whoever waited for its end may run."""
        del self._scripts[script.key]
        self._wake_held(script.key[0])
        if not self._scripts:
            self.on_idle()

    def others_lived(self, script: SupervisedScript, start: int) -> bool:
        """Say whether another procedure was there at a time, in clock ticks since boot, and still is."""
        return any(other is not script and other.lived_at(start) for other in self._all())
