"""The checks of all devices of this server: a few at once, the devices in turn, beside the procedures."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from ...mptools import Timer, WorkerPool
from ..messages import FROM_WORKER, Check, CheckDone
from ._check import CheckedScript, Findings
from ._environment_pools import EnvironmentPools
from ._guard import call_for
from ._script import Shared

_log = logging.getLogger(__name__)

_AT_ONCE = 2  # checks that have processes; the others wait
_MOST_UNKILLABLE = 4  # checks of which something survives SIGKILL, beyond which none is begun
_IDLE_FOR = 300.0  # seconds without a check, after which their template ends


class _NeverBegun:
    """A check that a fault of ours keeps from being made: it is told to have failed, lest one wait for it."""

    def __init__(self, request: Check, tell: Callable[[CheckDone], None]) -> None:
        self._request = request
        self._tell = tell

    def fail_internally(self, error: Exception) -> None:
        """Tell its end."""
        _log.critical("check %d of %s cannot be made", self._request.check_id, self._request.device, exc_info=error)
        findings = Findings(self._request, lambda: None)
        findings.fail(f"internal fault of OET: {type(error).__name__}: {error}")
        self._tell(findings.report())


class CheckSupervisor:
    """Supervises the checks of every device of this server.  In main's loop.

    Their workers are of a template of their own, which is started when the first check is asked for and ends when
    there has been none for some minutes: no check takes a worker that a procedure could have.

    :param tell: tells the device server what has come of a check
    :param entry: what their workers run; `imports` is what their templates import
    """

    def __init__(self, shared: Shared, tell: Callable[[CheckDone], None], entry: str, imports: tuple[str, ...]) -> None:
        self._tell = tell
        self._entry = entry
        self._imports = imports
        self._preload: list[str] = []
        self._environments = EnvironmentPools(
            shared.loop, shared.children, entry, imports, self._environment_broken, spares=0
        )
        self._shared = replace(shared, environments=self._environments)
        self._pool: WorkerPool | None = None
        self._idle: Timer | None = None
        self._waiting: dict[str, deque[Check]] = {}  # by device, that whose turn it is first
        self._running: list[CheckedScript] = []
        self._unkillable: list[CheckedScript] = []

    def create(self, request: Check) -> None:
        """Check a script when it is its turn."""
        self._waiting.setdefault(request.device, deque()).append(request)
        self._go_on()

    def configure(self, preload: Sequence[str]) -> None:
        """Set what is imported ahead, as for procedures."""
        self._preload = list(preload)
        if self._pool is not None:
            self._pool.configure(0, self._preload)

    def end_all(self) -> None:
        """End every check: the device server that has asked for them is gone, or this server ends."""
        self._waiting.clear()
        for script in list(self._running):
            call_for(script, script.drop, "nobody waits for it any more")

    def close(self) -> None:
        """End the templates of checks, and what is left of the checks."""
        self.end_all()
        self._environments.close()
        self._close_pool()

    # -- each in its turn

    def _go_on(self) -> None:
        while self._waiting and len(self._running) < _AT_ONCE:
            request = self._next()
            call_for(_NeverBegun(request, self._tell), self._begin, request)
        if not self._waiting and not self._running and self._pool is not None and self._idle is None:
            self._idle = self._shared.loop.call_later(_IDLE_FOR, self._close_pool)

    def _next(self) -> Check:
        """Take what waits first of the device with the fewest under way: none waits for all that another has asked."""
        running = [script.key[0] for script in self._running]
        device = min(self._waiting, key=running.count)
        requests = self._waiting.pop(device)
        request = requests.popleft()
        if requests:
            self._waiting[device] = requests  # behind the others
        return request

    def _begin(self, request: Check) -> None:
        if len(self._unkillable) >= _MOST_UNKILLABLE:
            findings = Findings(request, lambda: None)
            names = ", ".join(script.name for script in self._unkillable)
            findings.fail(f"nothing is checked while processes of earlier ones cannot be killed: {names}")
            self._tell(findings.report())
            return
        script = CheckedScript(request, replace(self._shared, pool=self._workers()), self._ended)
        self._running.append(script)
        script.begin()

    def _ended(self, script: CheckedScript) -> None:
        """Tell what has come of one of which nothing is left, or what is left cannot be killed."""
        if script in self._unkillable:
            if not script.is_unknown:
                self._unkillable.remove(script)
            return
        if script not in self._running:  # it is told already
            return
        self._running.remove(script)
        if script.is_unknown:
            self._unkillable.append(script)
        if script.is_awaited:
            self._tell(script.findings.report())
        self._shared.loop.before_waiting(self._go_on)

    def _environment_broken(self, folder: str, reason: str) -> None:
        for script in list(self._running):
            script.lose_environment(folder, reason)

    # -- their workers

    def _workers(self) -> WorkerPool:
        """Return the pool of checks, which is opened for the first one."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._pool is None:
            shared = self._shared
            self._pool = WorkerPool(
                shared.loop, shared.children, self._entry, spares=0, imports=self._imports, largest=FROM_WORKER
            )
            if self._preload:
                self._pool.configure(0, self._preload)  # which starts its template
            else:
                self._pool.start()
        return self._pool

    def _close_pool(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._pool is not None:
            self._pool.close()
            self._pool = None
