"""Tests that would leave something behind in their process run in a forked copy of it."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any


def in_a_child(test: Callable[..., None]) -> Callable[..., None]:
    """Decorate a test: it runs in a forked child, whose failure, traceback included, becomes its own.

    Signal handlers, the default publisher of pypubsub, and privileges given up end with the child.
    """

    @functools.wraps(test)
    def forked(*args: Any, **kwargs: Any) -> None:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            _run(writer, lambda: test(*args, **kwargs))
        os.close(writer)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # whatever it left behind
        with open(reader, errors="replace") as told:
            complaint = told.read()
        assert status == 0, f"in a child, which ended with {status}:\n{complaint}"

    return forked


def _run(writer: int, test: Callable[[], None]) -> None:
    status = 1
    try:
        os.setsid()
        test()
        status = 0
    except BaseException:  # top of a process
        os.write(writer, traceback.format_exc().encode()[-60_000:])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
