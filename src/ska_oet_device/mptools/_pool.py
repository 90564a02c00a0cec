"""Workers in stock: a few forked ahead of need.

All of this runs in the event loop of main.  Main itself never forks.
"""

from __future__ import annotations

import logging
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence

from ._event_loop import EventLoop, Timer
from ._pipe import Channel
from ._process import Children
from ._template_process import FORK_PATIENCE, TemplateProcess
from ._worker_handle import ENDED_UNBORN, WorkerHandle

_log = logging.getLogger(__name__)

_QUIET = 0.05  # seconds without work after which spares are made
_PROBES_APART = 2.0  # seconds
_NEXT_TRY = 1.0  # seconds after a worker that could not be made
_IMPORT_PATIENCE = 10.0  # seconds from the start of a template until it has imported its modules; mostly less than one


class WorkerPool:
    """Hands out workers, keeps `spares` of them ready, and keeps the template process alive.

    Spares are made in quiet moments, since a fork in the background doubles the latency of what
    runs beside it on a small machine; but at once when someone waits or none is left.
    `on_change` is called when `problems`, `supplying` or `template_pid` may have changed.

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
        self._template = TemplateProcess(
            loop, children, entry, self, imports=imports, python=python, import_patience=import_patience
        )
        self._wanted_spares = spares
        self._spares: deque[WorkerHandle] = deque()
        self._forking: list[WorkerHandle] = []
        self._outdated: set[WorkerHandle] = set()
        self._waiting: deque[Callable[[WorkerHandle], None]] = deque()
        self._busy_until = 0.0
        self._timer: Timer | None = None
        self._closing = False
        self._fork_problem: str | None = None
        self._told: tuple[str, ...] = ()
        self._last_probe = 0.0
        self.on_change: Callable[[], None] = lambda: None

    # -- for the supervisor

    def start(self) -> None:
        """Start the template process."""
        self._template.start()

    def configure(self, spares: int, preload: Sequence[str]) -> None:
        """Set how many spares are kept and what is imported ahead; a new list makes a new template."""
        self._wanted_spares = spares
        self._template.preload(preload)
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
                self._set_fork_problem("there is no template process to fork workers")

    def note_activity(self) -> None:
        """Say that something is going on: spares wait for a quiet moment."""
        self._busy_until = time.monotonic() + _QUIET

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with the making of workers, a sentence each; empty when all is well."""
        return self._template.problems + ((self._fork_problem,) if self._fork_problem else ())

    @property
    def supplying(self) -> bool:
        """Whether workers can be made, be it without the modules of Preload."""
        return self._fork_problem is None and not self._template.fails

    @property
    def template_pid(self) -> int | None:
        return self._template.pid

    def close(self) -> None:
        """End the template process and the spares."""
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        self._discard_spares()
        self._template.close()

    # -- for the template process

    def template_starts(self) -> None:
        if self.supplying:
            self.on_change()  # whoever looks whether the template is stopped has to know which one it is
        self._fork_as_needed()

    def template_is_ready(self) -> None:
        self._plan()

    def template_is_replaced(self) -> None:
        self._discard_spares()
        self._outdated.update(self._forking)

    def template_reports(self) -> None:
        self._fork_problem = None
        self._log_news()
        self.on_change()

    def _set_fork_problem(self, problem: str | None) -> None:
        self._fork_problem = problem
        if self._log_news():
            self.on_change()

    def _log_news(self) -> bool:
        """Log what is wrong now, and return True, if that is news."""
        if self.problems == self._told:
            return False
        self._told = self.problems
        for problem in self._told:
            _log.error("%s", problem)
        return True

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
        """Ask the template for one worker; False if it takes no request now."""
        ours, theirs = socket.socketpair()
        worker = WorkerHandle(self._loop, self._children, Channel(ours))
        with theirs:
            if not self._template.fork(theirs):
                worker.close()
                return False
        worker.on_born, worker.on_failed = self._born, self._unborn
        worker.on_end = lambda status: self._spare_ended(worker)
        self._forking.append(worker)
        worker.birth_deadline = self._loop.call_later(FORK_PATIENCE, lambda: self._not_born(worker))
        return True

    def _not_born(self, worker: WorkerHandle) -> None:
        if self._closing:
            return
        left, fault = self._template.patience()
        if left > 0:
            worker.birth_deadline = self._loop.call_later(left, lambda: self._not_born(worker))
        else:
            self._set_fork_problem(f"no worker can be forked: the template has not {fault}")

    def _born(self, worker: WorkerHandle) -> None:
        self._forking.remove(worker)
        if self._fork_problem:
            self._set_fork_problem(None)
        if worker in self._outdated:
            self._outdated.discard(worker)
            worker.end(signal.SIGKILL)
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
            self._spares.popleft().end(signal.SIGTERM)

    def _unborn(self, worker: WorkerHandle, reason: str) -> None:
        self._forking.remove(worker)
        self._outdated.discard(worker)
        if self._closing:
            return
        if self._template.pid is None:
            return  # the next template makes another one; whoever waits still waits
        if reason != ENDED_UNBORN:
            self._set_fork_problem(f"no worker can be forked: {reason}")
        if self._waiting or self._wanted_spares:
            self._timer = self._timer or self._loop.call_later(_NEXT_TRY, self._retry)

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
            worker.end(signal.SIGKILL)
