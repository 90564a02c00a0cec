"""Signals: when an exception may interrupt, and how a process asks to share its parent's fate."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import signal
import threading
from collections.abc import Collection, Iterator
from typing import Any

from ._lost import is_being_handled, is_lost

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_MOMENT = 0.05  # seconds, in which a hook has returned, on a busy machine, too

_PYTHONS_OWN: dict[int, Any] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGPIPE: signal.SIG_IGN,
    signal.SIGXFSZ: signal.SIG_IGN,
}
# What faulthandler, if somebody has asked for it, answers with a traceback.
_FAULTS = (signal.SIGSEGV, signal.SIGFPE, signal.SIGABRT, signal.SIGBUS, signal.SIGILL)


class TerminateInterrupt(KeyboardInterrupt):
    """SIGTERM arrived.  Not an Exception, so that `except Exception` in a script lets it pass.

    A KeyboardInterrupt, since that is what asyncio passes on from whichever callback or task it
    hits, so that `asyncio.run` ends and cleans up; of any other BaseException it only takes note.
    """


class InterruptGate:
    """Says when a signal handler may raise in the main thread, and remembers what had to wait.

    Closed at first.  User code runs with the gate open; the program's own bookkeeping runs with
    it closed, so that an exception from a handler never tears a message or a state change in two.
    """

    def __init__(self) -> None:
        self.waiting: BaseException | None = None
        self.raised = False
        self._open = False
        self._closed = 0  # parts that run, and are to be finished first
        self._exception: BaseException | None = None  # what was raised, while it may still be on its way

    def interrupt(self, exception: BaseException) -> None:
        """Raise `exception` now if the gate is open, else when it opens.  For signal handlers.

        It is raised once: the clean-up that follows is not interrupted again.  Only if what was raised has reached
        nobody, since it hit a callback of PyTango's, say, it is raised with the next signal.
        """
        if self._exception is not None and is_lost(self._exception):
            self.raised = False
        if self._exception is not None and not is_being_handled(self._exception):
            self._exception = None  # it holds what the functions held that it has ended
        if self.raised:
            return
        if not self._open or self._closed:
            self.waiting = exception
            return
        self.raised, self._exception = True, exception
        del exception  # else it would hold itself, and with that what the functions hold that it ends
        raise self._exception

    def _raise_waiting(self) -> None:
        if self.waiting is not None:
            waiting, self.waiting = self.waiting, None
            self.interrupt(waiting)

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Let signals interrupt what runs inside.  Main thread only."""
        self._open = True
        try:
            self._raise_waiting()
            yield
        finally:
            self._open, self._exception = False, None

    @contextlib.contextmanager
    def closed(self) -> Iterator[None]:
        """Keep signals from interrupting what runs inside; other threads are never interrupted anyway."""
        # Not current_thread(), which takes a KeyError, raised in it by a handler of the script, for a new thread.
        if threading.get_ident() != threading.main_thread().ident or not self._open:
            yield
            return
        self._closed += 1
        try:
            yield
        finally:
            self._closed -= 1
            if not self._closed:
                self._raise_waiting()

    def take_back(self) -> None:
        """What was raised has reached nobody, since it hit a `__del__` or a hook of a fork: the signal comes again."""
        threading.Timer(_MOMENT, os.kill, (os.getpid(), signal.SIGTERM)).start()
        self.raised, self._exception = False, None


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"prctl({option}): {os.strerror(errno)}")


def become_subreaper() -> None:
    """Make orphaned descendants children of this process (prctl(2), PR_SET_CHILD_SUBREAPER)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int, signum: signal.Signals = signal.SIGKILL) -> None:
    """Ask the kernel for `signum` when the parent ends (prctl(2), PR_SET_PDEATHSIG).

    The request is bound to the parent of this moment; if that is not `parent` any more, the
    parent has died already and this process ends at once.
    """
    _prctl(_PR_SET_PDEATHSIG, signum)
    if os.getppid() != parent:
        os.kill(os.getpid(), signum)


def reset_signals(keep: Collection[int] = ()) -> None:
    """Give every signal the action that Python gives it, and block none: for a fresh process, whatever it inherited.

    What is blocked or ignored is handed down to every child and through every exec.

    :param keep: signals that are left as they are
    """
    left_alone = {signal.SIGKILL, signal.SIGSTOP, *keep, *(_FAULTS if faulthandler.is_enabled() else ())}
    for signum in signal.valid_signals() - left_alone:
        signal.signal(signum, _PYTHONS_OWN.get(signum, signal.SIG_DFL))
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
