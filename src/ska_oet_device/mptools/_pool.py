"""Workers in stock: a few forked ahead of need.

All of this runs in the event loop of main.  Main itself never forks.
"""

from __future__ import annotations

import logging
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from ._event_loop import EventLoop, Timer
from ._pause import GrowingPause
from ._pipe import Channel
from ._process import Children, stat_of
from ._surroundings import worker_pipe
from ._template_process import FORK_PATIENCE, TemplateProcess
from ._template_protocol import OF_A_BIRTH
from ._worker_handle import ENDED_UNBORN, WorkerHandle

_log = logging.getLogger(__name__)

_READ_SIZE = 16 * 1024  # bytes read of one worker before it is another one's turn
_QUIET = 0.05  # seconds without work after which spares are made
_PROBES_APART = 2.0  # seconds
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # seconds after a worker that could not be made
_MOST_LATE = 0.5  # seconds that a deadline is late when this process, or the machine, has stood still
_IMPORT_PATIENCE = 10.0  # seconds from the start of a template until it has imported its modules; mostly less than one


class WorkerPool:
    """Hands out workers, keeps `spares` of them ready, and keeps the template process alive.

    Spares are made in quiet moments, since a fork in the background doubles the latency of what
    runs beside it on a small machine; but at once when someone waits or none is left.
    `on_change` is called when `problems`, `supplying` or `template_pid` may have changed.

    :param import_patience: seconds after which a template that has not imported its modules counts as a problem
    :param largest: what workers may send: bytes for each tag; None: anything
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
        largest: Mapping[int, int] | None = None,
    ) -> None:
        self._loop = loop
        self._children = children
        self._template = TemplateProcess(
            loop, children, entry, self, imports=imports, python=python, import_patience=import_patience
        )
        self._largest = {**OF_A_BIRTH, **largest} if largest is not None else None
        self._wanted_spares = spares
        self._spares: deque[WorkerHandle] = deque()
        self._forking: list[WorkerHandle] = []
        self._outdated: set[WorkerHandle] = set()
        self._waiting: deque[Callable[[WorkerHandle], None]] = deque()
        self._busy_until = 0.0
        self._timer: Timer | None = None
        self._closing = False
        self._fork_problem: str | None = None
        self._may_pass = False
        self._pipe_problem: str | None = None
        self._hung = 0
        self._pause = GrowingPause(_FIRST_PAUSE, _LONGEST_PAUSE)
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
            if self._is_fit(worker):
                on_worker(worker)
                self._plan()
                return lambda: None
        self._waiting.append(on_worker)
        self._fork_as_needed()

        def cancel() -> None:
            if on_worker in self._waiting:
                self._waiting.remove(on_worker)

        return cancel

    def _is_fit(self, worker: WorkerHandle) -> bool:
        """Say whether a spare can work; one that has been stopped is ended: nobody else would let it go on."""
        # Its death may be known to the kernel, and its SIGCHLD still be unread.
        if worker.ended or worker.pid is None or self._children.has_ended(worker.pid):
            return False
        stat = stat_of(worker.pid)
        if stat is None or stat.state not in "Tt":
            return True
        _log.error("the spare worker %d has been stopped: it is replaced", worker.pid)
        worker.end(signal.SIGKILL)
        return False

    def probe(self) -> None:
        """Find out whether a worker can be made, by making one; the oldest spare goes when it is there."""
        now = time.monotonic()
        if now - self._last_probe > _PROBES_APART and not self._forking:
            self._last_probe = now
            if not self._fork() and self._template.pid is None:
                self._set_fork_problem("there is no template process to fork workers", may_pass=True)

    def note_activity(self) -> None:
        """Say that something is going on: spares wait for a quiet moment."""
        self._busy_until = time.monotonic() + _QUIET

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with the making of workers, a sentence each; empty when all is well."""
        return self._template.problems + tuple(filter(None, (self._fork_problem, self._pipe_problem)))

    @property
    def supplying(self) -> bool:
        """Whether workers can be made, be it without the modules of Preload."""
        return self._fork_problem is None and self._pipe_problem is None and not self._template.fails

    @property
    def is_hopeless(self) -> bool:
        """Whether no worker can be made, and that is not for want of what the system may give at the next try."""
        if self._fork_problem is not None and not self._may_pass:
            return True
        return self._template.fails and not self._template.may_recover

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

    def _set_fork_problem(self, problem: str | None, *, may_pass: bool = False) -> None:
        self._fork_problem, self._may_pass = problem, may_pass
        if self._log_news():
            self.on_change()

    def _set_pipe_problem(self, problem: str | None) -> None:
        if problem != self._pipe_problem:
            self._pipe_problem = problem
            self._log_news()
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
        if self._closing or self._timer is not None:
            return
        if not self._missing():
            if self._is_to_be_tried:
                self._try_later()
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
        """Ask the template for one worker; False if that cannot be done now: it will be tried again."""
        try:
            is_asked = self._ask_for_worker()
        except OSError as error:
            is_asked = False
            self._set_pipe_problem(f"no worker can be made: {error}")
        else:
            self._set_pipe_problem(None)
        if not is_asked and self._template.pid is not None:  # else the next template is asked when it is there
            self._try_later()
        return is_asked

    def _ask_for_worker(self) -> bool:
        """Ask the template for one worker; False if it takes no request now.

        :raises OSError: there is no pipe to be had for it
        """
        ours, theirs = worker_pipe()
        channel = Channel(ours, largest=self._largest, read_size=_READ_SIZE)
        with theirs:
            try:
                worker = WorkerHandle(self._loop, self._children, channel)
            except OSError:
                channel.close()
                raise
            if not self._template.fork(theirs):
                worker.close()
                return False
        worker.on_born, worker.on_failed = self._born, self._unborn
        worker.on_end = lambda status: self._spare_ended(worker)
        self._forking.append(worker)
        self._expect(worker, FORK_PATIENCE)
        return True

    def _expect(self, worker: WorkerHandle, seconds: float) -> None:
        due = time.monotonic() + seconds
        worker.birth_deadline = self._loop.call_later(seconds, lambda: self._not_born(worker, due))

    def _not_born(self, worker: WorkerHandle, due: float) -> None:
        if self._closing:
            return
        left, fault = self._template.patience()
        if time.monotonic() - due > _MOST_LATE:  # we have not run ourselves, and nor may the template have
            left = max(left, FORK_PATIENCE)
        if left > 0:
            self._expect(worker, left)
            return
        hangs = self._template.is_ready
        self._hung += hangs
        # The first one that hangs is replaced, and no more need be made of it than a line in the log.
        self._set_fork_problem(f"no worker can be forked: the template has not {fault}", may_pass=self._hung == 1)
        if hangs:
            self._template.replace_hung()

    def _born(self, worker: WorkerHandle) -> None:
        self._forking.remove(worker)
        if self._closing:  # nobody waits for it any more, nor would anybody end it
            worker.end(signal.SIGKILL)
            return
        self._template.note_answer()
        self._pause.reset()
        self._hung = 0
        if self._fork_problem:
            self._set_fork_problem(None)
        if worker in self._outdated:
            self._outdated.discard(worker)
            worker.end(signal.SIGKILL)
        elif worker.ended:  # it has lived for a moment only
            self._try_later()
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
            self._template.note_answer()
            self._set_fork_problem(f"no worker can be forked: {reason}", may_pass=worker.is_refused)
        self._try_later()

    def _try_later(self) -> None:
        """Try again, after a pause that grows, to make what is missing; and whether any can be made, if none could."""
        if self._timer is None and not self._closing:
            self._timer = self._loop.call_later(self._pause.next(), self._retry)

    def _retry(self) -> None:
        self._timer = None
        self._fork_as_needed()
        if self._is_to_be_tried and self._timer is None:
            self._fork()
        self._plan()

    @property
    def _is_to_be_tried(self) -> bool:
        """Whether no worker could be made, and none is under way: a try tells whether that is still so."""
        return not self._forking and (self._fork_problem or self._pipe_problem) is not None

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
