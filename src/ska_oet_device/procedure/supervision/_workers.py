"""The workers of one procedure.  As a rule there is one; in two cases another one follows."""

from __future__ import annotations

import signal
from collections.abc import Callable

from ...mptools import WorkerHandle, WorkerPool
from ..messages import EnvironmentReady
from ._environment_pools import EnvironmentPools

_MOST_WORKERS = 3  # tried for one procedure, if they die before they have read what to do


class Workers:
    """Takes the workers of one procedure, one after the other.  In main's loop.

    Another one follows a worker that died as a mere spare, and a worker that has made the environment under whose
    interpreter the script is to run.

    :param on_worker: called with each worker that is taken
    """

    def __init__(
        self, pool: WorkerPool, environments: EnvironmentPools, on_worker: Callable[[WorkerHandle], None]
    ) -> None:
        self._pool = pool
        self._environments = environments
        self._on_worker = on_worker
        self._cancel_take: Callable[[], None] = lambda: None
        self._lost = 0
        self._is_in_environment = False
        self._has_left = False
        self.current: WorkerHandle | None = None
        self.environment: EnvironmentReady | None = None

    @property
    def pid(self) -> int | None:
        """The current one's process id; None before there is one and after it has been reaped."""
        return self.current.pid if self.current is not None and not self.current.ended else None

    def take(self) -> None:
        """Take the first or the next worker: of the environment, if there is one."""
        self.current = None
        if self.environment is None:
            self._cancel_take = self._pool.take(self._got)
        else:
            self._is_in_environment = True
            self._cancel_take = self._environments.take(self.environment.folder, self._got)

    @property
    def wants(self) -> str:
        """Why there is no worker yet, in a sentence or more; empty where that is not known, or there is one."""
        if self.current is not None:
            return ""
        if self._is_in_environment and self.environment is not None:
            return self._environments.problem(self.environment.folder)
        return "; ".join(self._pool.problems)

    def _got(self, worker: WorkerHandle) -> None:
        if self._has_left:  # the procedure is told to have ended: nothing of it may run any more
            worker.end(signal.SIGKILL)
            return
        self.current = worker
        self._on_worker(worker)

    def replace_lost(self) -> bool:
        """Take another one for a worker that died before its time; False if too many have."""
        self._lost += 1
        if self._lost >= _MOST_WORKERS:
            return False
        self.take()
        return True

    def hold(self, ready: EnvironmentReady) -> None:
        """Keep the environment while the worker that made it still does, until `leave`.

        :raises InvalidStateError: the environment is not there any more
        """
        self._environments.hold(ready.folder)
        self.environment = ready

    @property
    def has_successor(self) -> bool:
        """Whether a worker of the environment is to follow the one that made it."""
        return self.environment is not None and not self._is_in_environment

    def leave(self) -> None:
        """Take no more, and let go of the environment; may be called again."""
        if self._has_left:
            return
        self._has_left = True
        self._cancel_take()
        if self.environment is not None:
            self._environments.leave(self.environment.folder)
