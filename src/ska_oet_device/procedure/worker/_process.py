"""The process of a worker, from its birth as a spare to its end; and what its template does for it."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import socket
import sys
import threading
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

from ...event import define_script_topics
from ...mptools import (
    SPARE_TITLE,
    TEMPLATE_TITLE,
    WORKER_READY,
    Connection,
    InterruptGate,
    TerminateInterrupt,
    become_subreaper,
)
from . import _finalisation as finalisation
from ._forked import ForkedProcesses
from ._inherited import leave_helpers_to_template
from ._pipe import PipeEvents, PipeWork
from ._random_numbers import draw_seeds, find_generators, note_seeds
from ._rehearsal import rehearse
from ._streams import Flusher
from ._surroundings import set_title
from ._tracing import prepare_tracing
from ._worker import ScriptWorker, script_signal_handler

_REHEARSALS = 20  # the interpreter adapts its code to what it does within some ten calls


def prepare_template() -> None:
    """Do what each worker would have to do by itself, and have the interpreter adapt its code to it.  In the template.

    A worker shares what is in its memory then, and need not copy a page to change it.
    """
    define_script_topics()
    note_seeds()
    prepare_tracing()
    finalisation.prepare()
    for _ in range(_REHEARSALS):
        rehearse(TEMPLATE_TITLE)


def finish_template() -> None:
    """Take note of what modules have made that were imported since.  In the template, when it has imported all."""
    find_generators()


def _forget_exit_functions() -> None:
    """Leave what is to happen at the end of the template to the template; see to the script's own end.

    Some of the standard library's are registered once only, at an import that the template has done.
    """
    atexit._clear()
    atexit.register(logging.shutdown)
    for finalizer in list(weakref.finalize._registry):  # type: ignore[attr-defined]
        finalizer.atexit = False
    if weakref.finalize._registered_with_atexit:  # type: ignore[attr-defined]
        atexit.register(weakref.finalize._exitfunc)  # type: ignore[attr-defined]
    multiprocessing = sys.modules.get("multiprocessing.util")
    if multiprocessing is not None:
        atexit.register(multiprocessing._exit_function)


class _Terminate:
    """The handler of SIGTERM: interrupts the script, in its worker alone.

    A handler of the script may call it, as the one that there was before, in a process that was forked, too.
    """

    def __init__(self, gate: InterruptGate) -> None:
        self._gate = gate
        self._pid = os.getpid()

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() == self._pid:
            script_signal_handler(self._gate, TerminateInterrupt, signum, frame)
            return
        signal.signal(signum, signal.SIG_DFL)
        os.kill(os.getpid(), signum)


def _lose_no_interrupt(gate: InterruptGate, end: finalisation.Finalisation) -> None:
    """See to it that an interrupt is raised again that hits what Python lets nothing come out of.

    That is a `__del__`, the callback of a weak reference or of C, a hook of a fork.  At the end of the script, where a
    signal ends a step, one interrupt is enough.
    """
    shown = sys.unraisablehook

    def take_back(unraisable: Any) -> None:
        if isinstance(unraisable.exc_value, TerminateInterrupt) and not end.step:
            gate.take_back()
        else:
            shown(unraisable)

    sys.unraisablehook = take_back


def _follow_forks(worker: ScriptWorker, connection: Connection, forked: ForkedProcesses, events: PipeEvents) -> None:
    """See to it that what the script forks is a process as any other, and is heard."""
    handler = signal.getsignal(signal.SIGTERM)
    masks = threading.local()

    def let_signals_in() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, masks.before)

    def leave_to_parent() -> None:
        connection.disown()
        if signal.getsignal(signal.SIGTERM) is handler:  # the script's own stays
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        forked.in_child()
        events.leave_to_parent()
        worker.shutdown_event.set()  # one that returns from the script's function has no other to wait for
        let_signals_in()

    def before_fork() -> None:
        with worker.gate.closed():  # what had to wait is raised in here, and taken back: see _lose_no_interrupt
            # A child that its parent ends at once, as a pool does, would lose SIGTERM: Python forgets what has come
            # before it is the child's, and what came for this handler is nothing to the default one.
            masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            forked.before_fork()

    os.register_at_fork(before=before_fork, after_in_parent=let_signals_in, after_in_child=leave_to_parent)


def worker_main(sock: socket.socket) -> NoReturn:
    """Run a worker in a freshly forked process, from its birth as a spare to its end."""
    run_worker(sock, ScriptWorker, _use_spare_time)


def _use_spare_time(end: finalisation.Finalisation) -> None:
    rehearse(SPARE_TITLE)
    end.note_own()


def run_worker(
    sock: socket.socket, kind: type[ScriptWorker], prepare: Callable[[finalisation.Finalisation], None]
) -> NoReturn:
    """Be a worker of some kind, in a freshly forked process, to the end.

    :param prepare: does in advance what one that is not needed at once has the time for, and what its end needs
    """
    become_subreaper()  # until it ends, what the script leaves behind is not main's, which so knows whose it is
    _forget_exit_functions()
    gate = InterruptGate()
    connection = Connection(sock, gate)
    signal.signal(signal.SIGTERM, _Terminate(gate))
    set_title(SPARE_TITLE)
    draw_seeds()
    leave_helpers_to_template()
    forked = ForkedProcesses(connection)
    events, work = PipeEvents(connection, forked), PipeWork(connection, gate)
    flusher = Flusher()
    worker = kind("spare", threading.Event(), threading.Event(), events, work, gate=gate, flusher=flusher)
    _follow_forks(worker, connection, forked, events)
    _lose_no_interrupt(gate, work.finalisation)
    threading.Thread(target=work.read_for, args=(worker,), name="messages", daemon=True).start()
    flusher.start()
    prepare(work.finalisation)
    connection.send(WORKER_READY, b"")
    worker.run()
    worker.tracing.flush()
    work.finalisation.run(worker.exit_status, worker.handlers.hand_over, worker.loop.close, worker.forget)
