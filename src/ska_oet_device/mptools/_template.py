"""The template process: has imported what workers need, and does nothing but fork them.

Run as ``python -m ska_oet_device.mptools`` by main.  It has one thread, because a fork
copies only the thread that calls it, and a lock that another thread holds stays locked in the
child for ever.  What it forks is a child of main, which alone learns how it ends.
"""

from __future__ import annotations

import errno
import gc
import importlib
import os
import socket
import sys
import time
import warnings
from collections.abc import Callable
from typing import NoReturn

from setproctitle import setproctitle

from ._fork import can_fork_sibling, fork_sibling
from ._pipe import encode
from ._signals import die_with_parent, reset_signals
from ._surroundings import raise_limits
from ._template_protocol import (
    CONTROL_FD,
    FORK_FAILED,
    FORK_REFUSED,
    FORKED,
    PID,
    REQUEST_SIZE,
    TEMPLATE_TITLE,
    report_of,
)

WorkerEntry = Callable[[socket.socket], None]


def thread_count() -> int:
    """Return the number of threads of this process, those of C libraries included."""
    return len(os.listdir("/proc/self/task"))


def _import_all(names: list[str]) -> list[str]:
    """Import the modules; return a sentence for each one that cannot be, or that leaves a thread running."""
    problems = []
    for name in names:
        before = thread_count()
        try:
            importlib.import_module(name)
        except BaseException as error:  # a foreign module may do anything, sys.exit included
            problems.append(f"module {name} cannot be imported: {type(error).__name__}: {error}")
        if thread_count() > before:
            _end_library_threads()
        if thread_count() > before:
            problems.append(f"module {name} starts a thread when it is imported")
    return problems


def _prepare(prepare: Callable[[], None] | None) -> list[str]:
    """Do what the workers would have to do each by itself; return a sentence if that fails."""
    try:
        if prepare is not None:
            prepare()
    except Exception as error:  # the environment may have another version of whatever it uses
        return [f"workers cannot be prepared: {type(error).__name__}: {error}"]
    return []


def _end_library_threads() -> None:
    """Fork once for nothing: libraries that prepare for a fork, NumPy's OpenBLAS among them, end their threads for it.

    They start them again, in whichever process, with the first calculation that is large enough.
    To start them in every worker instead costs each one some 20 ms of a processor that spins and waits.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 and later: that is what it is done for
        try:
            pid = os.fork()
        except OSError:  # no process is to be had: they live on, and whoever counts them will tell
            return
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def _become_worker(pipe: socket.socket, main_pid: int, entry: WorkerEntry) -> NoReturn:
    """Tell main of this process, and be a worker to the end; the template may be killed meanwhile."""
    status = 1
    try:
        pipe.sendall(encode(FORKED, PID.pack(os.getpid())))
        os.setsid()
        reset_signals()
        die_with_parent(main_pid)
        entry(pipe)
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:  # top of a process
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


def _fork_worker(main_pid: int) -> int:
    """Fork a child of main; returns 0 in it.

    :raises OSError: it cannot be forked
    """
    return fork_sibling() if can_fork_sibling() else _fork_twice(main_pid)


def _fork_twice(main_pid: int) -> int:
    """Fork by way of a process in the middle, which exits: the kernel makes main, a subreaper, the parent."""
    middle = os.fork()
    if middle == 0:
        middle = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            os._exit(1)
        if pid != 0:
            os._exit(0)
        _wait_for_adoption(main_pid, middle)
        return 0
    if os.waitstatus_to_exitcode(os.waitpid(middle, 0)[1]) != 0:
        raise OSError(errno.EAGAIN, "the process in the middle cannot fork")
    return middle


def _wait_for_adoption(main_pid: int, middle_pid: int) -> None:
    """Wait until main has become the parent; any other one than the process in the middle means that main is gone."""
    while (parent := os.getppid()) != main_pid:
        if parent != middle_pid:
            os._exit(1)
        time.sleep(0.0005)


def _serve(control: socket.socket, main_pid: int, entry: WorkerEntry) -> None:
    """Fork a worker for every pipe that arrives, until main closes the control socket."""
    while True:
        data, fds, _, _ = socket.recv_fds(control, REQUEST_SIZE, 1)
        if not data:
            return
        if not fds:  # this process may open no more: the pipe is closed by that, which is main's answer
            continue
        with socket.socket(fileno=fds[0]) as pipe:
            try:
                threads = thread_count()
                if threads > 1:
                    _answer(pipe, FORK_FAILED, f"the template process has {threads} threads")
                    continue
                pid = _fork_worker(main_pid)
            except OSError as error:
                _answer(pipe, FORK_REFUSED, str(error))
                continue
            if pid == 0:
                control.close()
                _become_worker(pipe, main_pid, entry)


def _answer(pipe: socket.socket, tag: int, reason: str) -> None:
    try:
        pipe.sendall(encode(tag, reason.encode()))
    except OSError:  # main has closed the pipe: it waits for no answer
        pass


def main() -> None:
    """Import, prepare, report, and serve.  Arguments: main's process id, the worker's entry, modules to import.

    If the module of the entry has a function `prepare_template`, it is called once, before the modules are imported;
    a function `finish_template` after that, before anything is forked.
    """
    main_pid, entry_name, preload = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    die_with_parent(main_pid)
    raise_limits()  # main may have been short of something when it started this process
    control = socket.socket(fileno=CONTROL_FD)
    os.set_inheritable(CONTROL_FD, False)
    setproctitle(TEMPLATE_TITLE)
    module_name, _, function = entry_name.partition(":")
    module = importlib.import_module(module_name)
    problems = [*_prepare(getattr(module, "prepare_template", None)), *_import_all(preload)]
    problems += _prepare(getattr(module, "finish_template", None))
    # What exists now is never freed: telling the collector so keeps the pages shared with the workers.
    gc.collect()
    gc.freeze()
    control.send(report_of(problems))
    _serve(control, main_pid, getattr(module, function))
