"""The exit functions of a script.  Runs in the main thread of a worker."""

from __future__ import annotations

import atexit
import sys
from typing import Any


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
