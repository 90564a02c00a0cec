"""Whether this server can do its job: the main process answers, and workers can be made."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from ...mptools import stat_of
from ..link import MainStatus

_PATIENCE = 2.0  # seconds within which main answers; it never waits for anyone


class Health(enum.IntEnum):
    """The SKA's healthState."""

    OK = 0
    DEGRADED = 1
    FAILED = 2
    UNKNOWN = 3


@dataclass(frozen=True)
class Diagnosis:
    """How healthy, whether the supervisor is gone, and why; empty reasons when all is well."""

    health: Health
    supervisor_gone: bool = False
    reasons: tuple[str, ...] = ()
    store_full: bool = False


def diagnose(
    main: MainStatus, history_problem: str, store_problem: str = "", neglected: tuple[str, ...] = ()
) -> Diagnosis:
    """Look at main without waking it: is it there, is it stopped, does it owe an answer, has it complained?

    :param history_problem: what keeps the history from being written; empty if nothing does
    :param store_problem: what is wrong with the store of environments or the folder of outputs; empty if nothing is
    :param neglected: what the threads of this process fail to do again and again
    """
    if main.lost:
        return Diagnosis(Health.FAILED, True, (f"The supervisor is gone: {main.lost}.",))
    stat = stat_of(main.pid) if main.pid else None
    if stat is None or stat.state in "TtZX":
        state = "gone" if stat is None else f"in state {stat.state} (stopped)"
        return Diagnosis(Health.FAILED, True, (f"The main process {main.pid} is {state}.",))
    if main.answer_overdue > _PATIENCE:
        return Diagnosis(Health.FAILED, True, (f"The main process {main.pid} has not answered for {_PATIENCE:g} s.",))
    problems = tuple(f"{problem[:1].upper()}{problem[1:]}." for problem in main.problems) + neglected
    if main.template_is_stopped:
        problems += (f"The template process {main.template_pid}, which makes the workers, is stopped.",)
        return Diagnosis(Health.FAILED, False, problems)
    if store_problem:
        problems += (store_problem,)
    if history_problem:
        return Diagnosis(Health.FAILED, False, (history_problem, *problems))
    if not main.supplying:
        return Diagnosis(Health.FAILED, False, problems)
    return Diagnosis(Health.DEGRADED if problems else Health.OK, False, problems, bool(store_problem))
