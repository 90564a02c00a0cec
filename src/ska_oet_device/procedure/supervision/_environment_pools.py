"""Workers of environments: a template process and a spare for each environment in use.  In main's loop."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass

from ...mptools import Children, EventLoop, Timer, WorkerHandle, WorkerPool
from ..environment import Environment, EnvironmentUse
from ..messages import FROM_WORKER

_log = logging.getLogger(__name__)

_IDLE_FOR = 300.0  # seconds without a procedure, after which an environment's template ends
# Seconds for a template's imports, from files that nobody may have read before: its procedures fail when they are over.
_IMPORT_PATIENCE = 60.0


@dataclass
class _Pool:
    workers: WorkerPool
    attempt: str
    use: EnvironmentUse | None = None
    users: int = 0
    idle: Timer | None = None


class EnvironmentPools:
    """Hands out workers that run under an environment's interpreter; holds each environment while it is in use.

    :param spares: how many workers of each are ready before they are needed
    :param on_broken: called with an environment's folder and the reason when no worker can be made for it
    """

    def __init__(
        self,
        loop: EventLoop,
        children: Children,
        entry: str,
        imports: tuple[str, ...],
        on_broken: Callable[[str, str], None],
        spares: int = 1,
    ) -> None:
        self._loop = loop
        self._children = children
        self._entry = entry
        self._imports = imports
        self._on_broken = on_broken
        self._spares = spares
        self._pools: dict[str, _Pool] = {}

    def hold(self, folder: str) -> None:
        """Keep the environment in `folder`, and its template, until `leave` is called as often as this.

        :raises InvalidStateError: the environment is not there any more
        :raises OSError: its lock cannot be opened
        """
        environment = Environment.at(folder)
        use = environment.use()
        os.set_inheritable(use.fileno(), False)
        attempt = environment.attempt
        if folder in self._pools and self._pools[folder].attempt != attempt:
            self._close(folder)  # its template is of an environment that was removed
        pool = self._pools.get(folder) or self._open(folder, environment, attempt)
        if pool.idle is not None:
            pool.idle.cancel()
        pool.users += 1
        if pool.use is None:
            pool.use = use
        else:
            use.close()

    def take(self, folder: str, on_worker: Callable[[WorkerHandle], None]) -> Callable[[], None]:
        """Call `on_worker` with a worker of the environment that is held; returns how to cancel that."""
        return self._pools[folder].workers.take(on_worker)

    def problem(self, folder: str) -> str:
        """Return why no worker of the environment comes, in a sentence or more; empty where nothing is known."""
        return "; ".join(self._pools[folder].workers.problems) if folder in self._pools else ""

    def leave(self, folder: str) -> None:
        """Say that a procedure in this environment has ended: an idle template does not keep the environment."""
        pool = self._pools[folder]
        pool.users -= 1
        if pool.users == 0 and pool.use is not None:
            pool.use.close()
            pool.use = None
            self._close_later(folder, pool, _IDLE_FOR)

    def close(self) -> None:
        """End all templates and spares."""
        for folder in list(self._pools):
            self._close(folder)

    def _open(self, folder: str, environment: Environment, attempt: str) -> _Pool:
        workers = WorkerPool(
            self._loop,
            self._children,
            self._entry,
            spares=self._spares,
            imports=self._imports,
            python=environment.python,
            import_patience=_IMPORT_PATIENCE,
            largest=FROM_WORKER,
        )
        pool = self._pools[folder] = _Pool(workers, attempt)
        workers.on_change = lambda: self._supply_changed(folder, workers)
        workers.start()
        return pool

    def _supply_changed(self, folder: str, workers: WorkerPool) -> None:
        if not workers.is_hopeless:
            return
        reason = f"no worker can be made in environment {os.path.basename(folder)}: {' '.join(workers.problems)}"
        _log.error("%s", reason)
        self._on_broken(folder, reason)
        pool = self._pools.get(folder)
        if pool is not None and pool.workers is workers and pool.users == 0:  # the next one who asks may try again
            self._close_later(folder, pool, 0)

    def _close_later(self, folder: str, pool: _Pool, seconds: float) -> None:
        if pool.idle is not None:
            pool.idle.cancel()
        pool.idle = self._loop.call_later(seconds, lambda: self._close(folder))

    def _close(self, folder: str) -> None:
        pool = self._pools.pop(folder)
        if pool.idle is not None:
            pool.idle.cancel()
        pool.workers.close()
        if pool.use is not None:
            pool.use.close()
