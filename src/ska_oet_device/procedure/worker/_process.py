"""The process of a worker, from its birth as a spare to its end; and what its template does for it."""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import os
import signal
import socket
import sys
import threading
import weakref
from typing import NoReturn

from ...event import define_script_topics
from ...mptools import SPARE_TITLE, TEMPLATE_TITLE, WORKER_READY, Connection, InterruptGate, TerminateInterrupt
from ._pipe import PipeEvents, PipeWork
from ._rehearsal import rehearse
from ._surroundings import set_title
from ._worker import TERMINATED_STATUS, ScriptWorker, script_signal_handler

_REHEARSALS = 20  # the interpreter adapts its code to what it does within some ten calls


def prepare_template() -> None:
    """Do what each worker would have to do by itself, and have the interpreter adapt its code to it.  In the template.

    A worker shares what is in its memory then, and need not copy a page to change it.
    """
    define_script_topics()
    for _ in range(_REHEARSALS):
        rehearse(TEMPLATE_TITLE)


def _own_random_numbers() -> None:
    """Give NumPy's global generator a seed of its own: a fork copies its state (Python's own reseeds itself)."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


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


def _leave_to_parent(connection: Connection) -> None:
    """In a process that the script forks: the pipe and the signal handling are the worker's alone."""
    connection.disown()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def worker_main(sock: socket.socket) -> NoReturn:
    """Run a worker in a freshly forked process, from its birth as a spare to its end."""
    _forget_exit_functions()
    gate = InterruptGate()
    connection = Connection(sock, gate)
    signal.signal(signal.SIGTERM, functools.partial(script_signal_handler, gate, TerminateInterrupt))
    os.register_at_fork(after_in_child=functools.partial(_leave_to_parent, connection))
    set_title(SPARE_TITLE)
    _own_random_numbers()
    events, work = PipeEvents(connection), PipeWork(connection, gate)
    worker = ScriptWorker("spare", threading.Event(), threading.Event(), events, work, gate=gate)
    threading.Thread(target=work.read_for, args=(worker, events), name="messages", daemon=True).start()
    rehearse(SPARE_TITLE)
    connection.send(WORKER_READY, b"")
    worker.run()
    _end(worker)


def _end(worker: ScriptWorker) -> NoReturn:
    """End as Python would: wait for the script's own threads, run its exit functions, flush."""
    status = worker.exit_status
    try:
        with worker.gate.open():
            if status == 0:
                threading._shutdown()  # type: ignore[attr-defined]
            atexit._run_exitfuncs()
    except BaseException:  # top of a process, running user code; a signal in it means: now
        status = status or 1
    if worker.gate.raised:  # Python 3.13 keeps an exception that ends the waiting for threads to itself
        status = status or TERMINATED_STATUS
    for name in ("stdout", "stderr"):
        with contextlib.suppress(BaseException):  # whatever the script has made of them
            getattr(sys, name).flush()
    os._exit(status)
