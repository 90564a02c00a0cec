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
from ._process import Children, ExitStatus, own_python, spawn
from ._template_protocol import CONTROL_FD, REPORT_SIZE, problems_in

_log = logging.getLogger(__name__)

FORK_PATIENCE = 3.0  # seconds from the request to the birth of a worker; a fork takes some 10 ms
_WITHOUT_PRELOAD = "workers are made without the modules of Preload"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # seconds before a template that ended is started again


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
    are given up when a template does not survive them, or cannot fork because of them.

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
        self._pause = _FIRST_PAUSE
        self._restart_timer: Timer | None = None
        self.pid: int | None = None
        self.is_ready = False
        self.problems: tuple[str, ...] = ()
        self.fails = False

    def start(self) -> None:
        """Start it; one that cannot be started is tried again later."""
        self._restart_timer = None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        preload = () if self._without_preload else self._preload
        try:
            pid = spawn([*self._command, *preload], dict(os.environ), {CONTROL_FD: theirs.fileno()})
        except OSError as error:
            ours.close()
            self._report([f"the template process cannot be started: {error}"], fails=True)
            self._restart_timer = self._loop.call_later(_LONGEST_PAUSE, self.start)
            return
        finally:
            theirs.close()
        ours.setblocking(False)
        self.pid, self._control, self.is_ready = pid, ours, False
        self._since = time.monotonic()
        self._loop.watch(ours, lambda: self._speaks(ours))
        self._children.watch(pid, lambda status: self._ended(pid, status))
        self._user.template_starts()

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
        self._pause = _FIRST_PAUSE
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
        self._restart_timer = self._loop.call_later(self._pause, self.start)
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)

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

    def _report(self, problems: Sequence[str], *, fails: bool = False) -> None:
        self.problems, self.fails = tuple(problems), fails
        self._user.template_reports()
