"""What the processes of a run carry, so that they are found when everything that knew of them is gone."""

from __future__ import annotations

from ..mptools import carries_mark

RUN_ID_VARIABLE = "SKA_OET_RUN_ID"
"""The variable of the environment that holds the run id: inherited by exec."""


def run_title(run_id: str) -> str:
    """Return what the title of a worker begins with: inherited by fork.

    The run id comes first, since a title is cut where a process was started with a short command and environment.
    """
    return f"oet-script run={run_id} "


def carries_run(pid: int, run_id: str) -> bool:
    """Say whether a process is of the run `run_id`: a worker, what it forked, or what that executed."""
    return bool(run_id) and carries_mark(pid, run_title(run_id), f"{RUN_ID_VARIABLE}={run_id}")
