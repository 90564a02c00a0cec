"""The states of a procedure, and the one table that says which may follow which."""

from __future__ import annotations

import enum


class ProcedureState(enum.IntEnum):
    """The script execution state.  The number is the value of the Tango enumeration."""

    UNKNOWN = 0
    CREATING = 1
    IDLE = 2
    PREP_ENV = 3
    LOADING = 4
    INITIALISING = 5
    READY = 6
    RUNNING = 7
    COMPLETE = 8
    STOPPED = 9
    FAILED = 10

    @property
    def is_terminal(self) -> bool:
        """Whether nothing more is to be waited for; UNKNOWN is STOPPED or FAILED once its process has gone."""
        return self in TERMINAL

    @property
    def is_final(self) -> bool:
        """Whether nothing can follow, and nothing is left of the procedure."""
        return self in FINAL


_S = ProcedureState

FINAL = frozenset({_S.COMPLETE, _S.STOPPED, _S.FAILED})
TERMINAL = FINAL | {_S.UNKNOWN}

_ENDINGS = frozenset({_S.STOPPED, _S.FAILED, _S.UNKNOWN})

TRANSITIONS: dict[ProcedureState, frozenset[ProcedureState]] = {
    _S.CREATING: _ENDINGS | {_S.IDLE},
    _S.IDLE: _ENDINGS | {_S.PREP_ENV, _S.LOADING, _S.INITIALISING, _S.READY},
    _S.PREP_ENV: _ENDINGS | {_S.IDLE},
    _S.LOADING: _ENDINGS | {_S.IDLE},
    _S.INITIALISING: _ENDINGS | {_S.READY},
    _S.READY: _ENDINGS | {_S.RUNNING, _S.COMPLETE, _S.READY},  # READY again: a start was dropped
    _S.RUNNING: _ENDINGS | {_S.READY},
    _S.UNKNOWN: frozenset({_S.STOPPED, _S.FAILED, _S.UNKNOWN}),  # its process has gone; again: but left others behind
} | {state: frozenset() for state in FINAL}
"""What may follow each state, as the contract draws it."""


def may_follow(previous: ProcedureState | None, state: ProcedureState) -> bool:
    """Say whether a procedure may go from `previous` (None: it is new) to `state`."""
    if previous is None:
        return state is ProcedureState.CREATING
    return state in TRANSITIONS[previous]
