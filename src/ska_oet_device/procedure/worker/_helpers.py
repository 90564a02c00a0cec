"""Python's own helper processes, which outlive the process that started them by a moment, and clean up behind it.

A resource tracker unlinks the shared memory and the semaphores that nobody else has unlinked, as soon as nobody holds
the other end of its pipe any more; a forkserver is one of those who hold it.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys

HELPERS_PATIENCE = 2.0  # seconds for each: it is a Python that may have to start yet

# The module, the object in it, and what that calls its end of the pipe and the process.
_HELPERS = (
    ("multiprocessing.forkserver", "_forkserver", "_forkserver_alive_fd", "_forkserver_pid"),
    ("multiprocessing.resource_tracker", "_resource_tracker", "_fd", "_pid"),
    ("joblib.externals.loky.backend.resource_tracker", "_resource_tracker", "_fd", "_pid"),
    ("loky.backend.resource_tracker", "_resource_tracker", "_fd", "_pid"),
)


def let_go_of_helpers() -> None:
    """Have the helpers of this process end by themselves, and wait for that, within a limit.

    Main thread of a worker, at its very end.
    """
    for module, name, pipe, pid in _HELPERS:
        helper = getattr(sys.modules.get(module), name, None)
        if helper is not None:
            with contextlib.suppress(Exception):  # there is none, or other versions keep it elsewhere
                _let_go(getattr(helper, pipe), getattr(helper, pid))


def _let_go(pipe: int, pid: int) -> None:
    """Close our end of the pipe, which tells the helper to go; what else of the script holds one may keep it."""
    os.close(pipe)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)  # raises if it is a child of somebody else
    process = os.pidfd_open(pid)
    select.select([process], [], [], HELPERS_PATIENCE)
    os.close(process)
    os.waitpid(pid, os.WNOHANG)
