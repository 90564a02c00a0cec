"""What the processes of a run carry, so that they are found when everything that knew of them is gone."""

from __future__ import annotations

from ..mptools import command_line_of, threads_of, variable_of
from ..this_run import RUN_ID_VARIABLE

_TITLE = "oet-script run="


def run_title(run_id: str) -> str:
    """Return what the title of a worker begins with: inherited by fork.

    The run id comes first, since a title is cut where a process was started with a short command and environment.
    """
    return f"{_TITLE}{run_id} "


def runs_of(pid: int) -> tuple[str, ...]:
    """Return the run ids that a process carries, none or up to two: a worker's, what it forked, what that executed.

    One that merely names a run id, in its arguments or in another variable, carries none.
    """
    if not command_line_of(pid):  # a thread that has ended shows neither: the others tell, if there are any
        pid = next((thread for thread in threads_of(pid) if command_line_of(thread)), pid)
    start, _, rest = command_line_of(pid).partition(_TITLE.encode())
    by_title, space, _ = rest.partition(b" ")
    run_ids = by_title.decode(errors="replace") if space and not start else "", variable_of(pid, RUN_ID_VARIABLE)
    return tuple(run_id for run_id in run_ids if run_id)


def carries_run(pid: int, run_id: str) -> bool:
    """Say whether a process is of the run `run_id`, which is not empty."""
    return run_id in runs_of(pid)
