"""Which procedure is meant by a Stop or a Start that names none; what is not clear is refused.

The lock of the procedures is held by whoever calls: nothing changes between the choice and what is done then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...errors import InvalidStateError
from ..state import ProcedureState
from ..turns import Hold
from ._lrc import LongRunningCommand
from ._procedure import Procedure

_HAS_THE_TURN = (Hold.RUNNING, Hold.STARTING, Hold.ENDING)
_ON_THEIR_WAY = (
    ProcedureState.CREATING,
    ProcedureState.IDLE,
    ProcedureState.PREP_ENV,
    ProcedureState.LOADING,
    ProcedureState.INITIALISING,
)
_MOST_NAMED = 10


def to_be_stopped(living: Sequence[Procedure]) -> Procedure:
    """Return the active procedure: the one that has the turn, else the only one that lives.

    An abort script is never meant: whoever presses Stop twice must not stop what makes the telescope safe.

    :param living: the procedures of the device of which something is left
    :raises InvalidStateError: nothing lives, or an abort script has the turn, or several live and none has it
    """
    driving = _driving(living)
    if driving is not None and driving.abort_of is None:
        return driving
    if driving is not None:
        raise InvalidStateError(f"{_described(driving)}: it is stopped only by its id")
    if not living:
        raise InvalidStateError("no procedure is alive: there is none to stop")
    others = [each for each in living if each.abort_of is None]
    if len(others) == 1:
        return others[0]
    if not others:
        raise InvalidStateError(f"{_named(living)}: an abort script is stopped only by its id")
    raise InvalidStateError(f"no procedure has the turn, and {len(living)} are alive: {_named(living)}; say which one")


def ended(pid: int, living: Sequence[Procedure]) -> str:
    """Return why a procedure that has ended is not stopped, and what is to be done if another one is meant."""
    said = f"procedure {pid} has ended"
    if not living:
        return said
    try:
        active = to_be_stopped(living)
    except InvalidStateError as error:
        return f"{said}; {error}"
    return f"{said}; {_described(active)}: select 0 to stop the active one"


def to_be_aborted(
    living: Sequence[Procedure], unfinished: Iterable[LongRunningCommand]
) -> tuple[list[Procedure], list[Procedure]]:
    """Return what an Abort stops: what commands wait for, and, last, what has the turn, whoever has asked for it.

    :param living: as of `to_be_stopped`
    :param unfinished: the long running commands that have not finished
    :return: these, and the abort scripts that live, whose ends are waited for
    """
    driving = _driving(living)
    wanted = {each.process_uid for each in unfinished}
    others = [each for each in living if each.id in wanted and each is not driving and each.abort_of is None]
    scripts = [each for each in living if each.abort_of is not None and not each.is_unknown]
    last = [driving] if driving is not None and driving.abort_of is None else []
    return [*others, *last], scripts


def to_be_started(living: Sequence[Procedure], *, force: bool) -> Procedure:
    """Return the newest procedure that is READY.

    :param living: the procedures of the device of which something is left
    :param force: one that is on its way to READY is meant, too, unless it has been asked to start already
    :raises InvalidStateError: none is READY, or a newer one is on its way to it
    """
    ready = [each for each in living if _is_ready(each)]
    coming = [each for each in living if _comes(each)]
    meant = max([*ready, *coming] if force else ready, key=lambda each: each.id, default=None)
    if meant is None:
        raise InvalidStateError(f"no procedure is READY: {_named(living) if living else 'none is alive'}")
    newer = [each for each in coming if each.id > meant.id]
    if newer:
        raise InvalidStateError(f"{_described(meant)}, but newer ones are on their way: {_named(newer)}; say which one")
    if meant.queued_starts:
        raise InvalidStateError(f"{_described(meant)}, and has been asked to start already; say which one")
    return meant


def _driving(living: Iterable[Procedure]) -> Procedure | None:
    claims = [(each, each.claim) for each in living]
    found = (each for hold in _HAS_THE_TURN for each, claim in claims if claim is not None and claim.hold is hold)
    return next(found, None)


def _is_ready(procedure: Procedure) -> bool:
    is_called = procedure.is_starting or procedure.is_ending or procedure.stopping
    return procedure.state is ProcedureState.READY and procedure.abort_of is None and not is_called


def _comes(procedure: Procedure) -> bool:
    return procedure.state in _ON_THEIR_WAY and procedure.abort_of is None and not procedure.stopping


def _named(procedures: Sequence[Procedure]) -> str:
    named = ", ".join(map(_described, procedures[-_MOST_NAMED:]))
    more = len(procedures) - _MOST_NAMED
    return f"{named} and {more} older ones" if more > 0 else named


def _described(procedure: Procedure) -> str:
    what = f" (the abort script of procedure {procedure.abort_of})" if procedure.abort_of is not None else ""
    doing = ""
    if procedure.stopping:
        doing = " and being stopped"
    elif procedure.is_ending:
        doing = " and still ending"
    elif procedure.is_starting:
        doing = " and being started"
    return f"procedure {procedure.id}{what} is {procedure.state.name}{doing}"
