"""The exit functions of a script.  Runs in the main thread of a worker."""

from __future__ import annotations

import atexit
import sys
import threading
from typing import Any

_OF_THREADS = "concurrent.futures.thread"


def let_go_of_process_pools() -> None:
    """Tell pools of processes that this is the end, as Python does before it waits for threads; they end what waits.

    Without that the processes wait for tasks, and multiprocessing's exit function for the processes: both for ever.  A
    pool of threads is not told: it would wait for what these are doing, and they end with the process.  What is
    registered so (threading._register_atexit) is concurrent.futures' and loky's, and partial in each version of Python.

    :raises BaseException: what one of them raises, or a signal
    """
    registered = threading._threading_atexits  # type: ignore[attr-defined]
    for let_go in reversed(registered):
        if getattr(let_go.func, "__module__", "") != _OF_THREADS:
            let_go()


def run_exit_functions() -> bool:
    """Run what was registered with `atexit`, as Python does at its end; returns whether one of them has raised.

    Python prints what they raise, and goes on with the next one.

    :raises BaseException: what a signal has raised between two of them
    """
    raised = False
    shown = sys.unraisablehook

    def note(unraisable: Any) -> None:
        nonlocal raised
        raised = True
        shown(unraisable)

    sys.unraisablehook = note
    try:
        atexit._run_exitfuncs()
    finally:
        sys.unraisablehook = shown
    return raised
