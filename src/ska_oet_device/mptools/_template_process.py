"""Main's end of the template process: started, asked for workers, and started again when it ends."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from typing import Protocol

from ._event_loop import EventLoop, Timer
from ._pause import GrowingPause
from ._process import Children, ExitStatus, own_python, spawn
from ._template_protocol import CONTROL_FD, REPORT_SIZE, problems_in

_log = logging.getLogger(__name__)

FORK_PATIENCE = 3.0  # seconds from the request to the birth of a worker; a fork takes some 10 ms
_WITHOUT_PRELOAD = "workers are made without the modules of Preload"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # seconds before a template that ended, or could not be started, is started
_IMPORTS_NEVER = 6  # times its import patience from the start, a template that is not ready is taken for hung


class TemplateUser(Protocol):
    """Who is told what becomes of the template process."""

    def template_starts(self) -> None:
        """There is one, which takes requests; it answers them when it has imported its modules."""

    def template_is_ready(self) -> None:
        """It has imported its modules."""

    def template_is_replaced(self) -> None:
        """What it has forked, or will, is out of date."""

    def template_reports(self) -> None:
        """`problems` and `fails` say how the newest one has come out."""


class TemplateProcess:
    """The process that forks the workers; one that ends is followed by another, after a pause that grows.

    `pid` is None while there is none.  `problems` says what is wrong with it, a sentence each; if it
    `fails`, it makes no workers at all.  Without the modules of Preload there may be workers yet: they
    are given up when a template does not survive them, or cannot fork because of them.  `may_recover` says
    that it fails because the system gives no process or descriptor: another try may succeed.

    One that hangs is killed, and followed by another as if it had ended by itself.

    :param python: the interpreter; in one that is not our own, nothing of our surroundings counts
    :param imports: modules that are imported whatever Preload says
    :param import_patience: seconds from the start until the modules should have been imported
    """

    def __init__(
        self,
        loop: EventLoop,
        children: Children,
        entry: str,
        user: TemplateUser,
        *,
        imports: Sequence[str],
        python: str,
        import_patience: float,
    ) -> None:
        self._loop = loop
        self._children = children
        self._user = user
        # Isolated: neither PYTHONPATH nor the folder we stand in may shadow what an environment holds.
        interpreter = own_python() if python == sys.executable else [python, "-I"]
        self._command = [*interpreter, "-m", "ska_oet_device.mptools", str(os.getpid()), entry, *imports]
        self._import_patience = import_patience
        self._preload: tuple[str, ...] = ()
        self._without_preload = False
        self._control: socket.socket | None = None
        self._since = 0.0
        self._pause = GrowingPause(_FIRST_PAUSE, _LONGEST_PAUSE)
        self._restart_timer: Timer | None = None
        self._import_timer: Timer | None = None
        self.pid: int | None = None
        self.is_ready = False
        self.problems: tuple[str, ...] = ()
        self.fails = False
        self.may_recover = False

    def start(self) -> None:
        """Start it; one that cannot be started is tried again later."""
        try:
            self._begin()
        except OSError as error:
            self._drop()
            self._report([f"the template process cannot be started: {error}"], fails=True, may_recover=True)
            self._start_later()
            return
        self._user.template_starts()

    def _begin(self) -> None:
        """Start it.

        :raises OSError: that cannot be done now
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self._control, self.is_ready = ours, False
        preload = () if self._without_preload else self._preload
        with theirs:
            self._loop.watch(ours, lambda: self._speaks(ours))
            pid = self.pid = spawn([*self._command, *preload], dict(os.environ), {CONTROL_FD: theirs.fileno()})
        self._children.watch(pid, lambda status: self._ended(pid, status))
        self._since = time.monotonic()
        self._import_timer = self._loop.call_later(self._import_patience * _IMPORTS_NEVER, self._is_never_ready)

    def _start_later(self) -> None:
        if self._restart_timer is not None:
            self._restart_timer.cancel()
        self._restart_timer = self._loop.call_later(self._pause.next(), self.start)

    def _is_never_ready(self) -> None:
        """Take one that is still importing for hung: its end is handled as any other."""
        if self.pid is not None:
            _log.error("the template process %d does not get done with its imports: it is killed", self.pid)
            self._children.signal(self.pid, signal.SIGKILL)

    def replace_hung(self) -> None:
        """Kill the one that there is, since it does not answer, and start another."""
        _log.error("the template process %s has not answered for %g s: it is replaced", self.pid, FORK_PATIENCE)
        self._drop()
        self.start()

    def note_answer(self) -> None:
        """Note that it has done what it was asked: it does not hang."""
        if self.is_ready:
            self._since = time.monotonic()

    def preload(self, modules: Sequence[str]) -> None:
        """Import these modules, too; a new list makes a new template."""
        if tuple(modules) != self._preload:
            self._preload = tuple(modules)
            self._without_preload = False
            self._replace()

    def fork(self, pipe: socket.socket) -> bool:
        """Ask for a worker with `pipe` for its end of the pipe; False if no request is taken now."""
        if self._control is None:
            return False
        try:
            socket.send_fds(self._control, [b"fork"], [pipe.fileno()])
        except OSError as error:  # a full socket: hundreds are under way already; or the template is ending
            _log.debug("the template takes no request now: %s", error)
            return False
        return True

    def patience(self) -> tuple[float, str]:
        """Return for how many more seconds a worker may be waited for, and what the template has failed to do then.

        One that is still importing forks when it has done so; its own end is noticed elsewhere.
        """
        allowed, what = (
            (FORK_PATIENCE, f"answered for {FORK_PATIENCE:g} s")
            if self.is_ready
            else (self._import_patience, f"imported its modules within {self._import_patience:g} s")
        )
        return self._since + allowed - time.monotonic(), what

    def close(self) -> None:
        """End it for good."""
        if self._restart_timer is not None:
            self._restart_timer.cancel()
        self._drop()

    def _speaks(self, control: socket.socket) -> None:
        try:
            data = control.recv(REPORT_SIZE)
        except ConnectionResetError:  # it was killed before it had read our request
            data = b""
        if not data:
            self._loop.unwatch(control)  # its end is told by waitpid
            return
        problems = problems_in(data)
        self.is_ready = True
        self._since = time.monotonic()
        self._pause.reset()
        self._stop_waiting_for_imports()
        if self._may_give_up and any("starts a thread" in problem for problem in problems):
            self._give_up_preload(problems)
            return
        if not self._without_preload:
            self._report(problems)
        elif self.fails:
            self._report([_WITHOUT_PRELOAD])
        self._user.template_is_ready()

    def _ended(self, pid: int, status: ExitStatus) -> None:
        if pid != self.pid:
            return
        was_ready = self.is_ready
        self._forget()
        _log.error("the template process %d ended: %s", pid, status)
        if not was_ready and self._may_give_up:
            self._give_up_preload([f"the template process ended while it imported its modules: {status}"])
            return
        if not was_ready:
            self._report([f"the template process ended: {status}"], fails=True)
        self._start_later()

    @property
    def _may_give_up(self) -> bool:
        return bool(self._preload) and not self._without_preload

    def _give_up_preload(self, problems: Sequence[str]) -> None:
        """Go on without the modules of Preload: scripts import them themselves, a little later."""
        self._without_preload = True
        self._report([*problems, _WITHOUT_PRELOAD])
        self._replace()

    def _replace(self) -> None:
        self._drop()
        self._user.template_is_replaced()
        if self._restart_timer is not None:
            self._restart_timer.cancel()
        self.start()

    def _drop(self) -> None:
        pid = self.pid
        self._forget()
        if pid is not None:
            self._children.signal(pid, signal.SIGKILL)

    def _forget(self) -> None:
        if self._control is not None:
            self._loop.unwatch(self._control)
            self._control.close()
        self._control = self.pid = None
        self.is_ready = False
        self._stop_waiting_for_imports()

    def _stop_waiting_for_imports(self) -> None:
        if self._import_timer is not None:
            self._import_timer.cancel()
            self._import_timer = None

    def _report(self, problems: Sequence[str], *, fails: bool = False, may_recover: bool = False) -> None:
        self.problems, self.fails, self.may_recover = tuple(problems), fails, may_recover
        self._user.template_reports()
