"""What a worker tells main: read, and looked at, for user code runs at the other end of the pipe."""

from __future__ import annotations

from ...config import LONGEST_PATH
from ...mptools import NotPlainError
from ..messages import (
    CHECK_STEPS,
    LARGEST_FINDINGS,
    LARGEST_RESULT,
    LONGEST_DELAY,
    LONGEST_REASON,
    CheckFindings,
    CheckStep,
    Delay,
    EnvironmentReady,
    FilledIn,
    Finished,
    ScriptLoaded,
    StateEntered,
    from_payload,
)
from ..state import ProcedureState

Told = StateEntered | ScriptLoaded | FilledIn | EnvironmentReady | Finished | Delay | CheckStep | CheckFindings

_MOST_READ = 32 * 1024  # bytes of what a worker says that it has read
_PROVENANCE = {"path", "sha256", "git_commit", "environment"}
_LATEST = 2.0**33  # Unix time, some centuries from now
_OUTCOMES = ("completed", "failed", "terminated", "stopped")


def read_told(payload: bytes) -> Told:
    """Return the message in a frame of a worker.

    :raises NotPlainError: it is none that a worker sends, or one of its fields cannot be
    """
    message: Told = from_payload(payload)
    if isinstance(message, StateEntered):
        _check(type(message.state) is int and message.state in _ENTERED, "state", message.state)
        _check_time(message.time)
    elif isinstance(message, ScriptLoaded):
        _check(len(payload) <= _MOST_READ and _is_provenance(message.provenance), "provenance", message.provenance)
    elif isinstance(message, FilledIn):
        _check(_is_subarray(message.arguments), "arguments", message.arguments)
    elif isinstance(message, EnvironmentReady):
        _check_path("folder", message.folder)
        _check_path("path", message.path)
        _check(type(message.source) is dict, "source", message.source)
    elif isinstance(message, Finished):
        _check(message.outcome in _OUTCOMES, "outcome", message.outcome)
        _check_time(message.moment, "moment")
        _check_reason("reason", message.reason)
        _check_reason("clean_up_error", message.clean_up_error)
        _check(type(message.unaware) is bool, "unaware", message.unaware)
        _check(message.result is None or _is_result(message.result), "result", message.result)
        _check_reason("result_note", message.result_note)
        _check(message.stacktrace is None or type(message.stacktrace) is str, "stacktrace", message.stacktrace)
    elif isinstance(message, Delay):
        _check(type(message.where) is str and len(message.where) <= LONGEST_DELAY, "where", message.where)
    elif isinstance(message, CheckStep):
        _check_step(message)
    elif isinstance(message, CheckFindings):
        _check(len(payload) <= LARGEST_FINDINGS, "functions", f"of {len(payload)} bytes")
        _check(message.docstring is None or type(message.docstring) is str, "docstring", message.docstring)
        _check(_are_functions(message.functions), "functions", message.functions)
    else:
        raise NotPlainError(f"a worker does not send {type(message).__name__}")
    return message


def _is_provenance(told: object) -> bool:
    return (
        type(told) is dict and told.keys() == _PROVENANCE and all(type(told[key]) in (str, type(None)) for key in told)
    )


def _check_step(message: CheckStep) -> None:
    _check(message.step in CHECK_STEPS, "step", message.step)
    _check(type(message.ok) is bool, "ok", message.ok)
    _check_time(message.time)
    if message.reason is not None or not message.ok:
        _check_reason("reason", message.reason)


def _are_functions(functions: object) -> bool:
    """Say whether these are functions as the contract tells them; of their parameters it is known what is no object."""
    return type(functions) is dict and all(
        type(name) is str and type(told) is dict and _is_function(told) for name, told in functions.items()
    )


def _is_function(told: dict[str, object]) -> bool:
    kinds = {"signature": (str,), "docstring": (str, type(None)), "parameters": (dict,)}
    return told.keys() == kinds.keys() and all(type(told[key]) in kinds[key] for key in kinds)


_ENTERED = frozenset(int(state) for state in ProcedureState if not state.is_terminal)
"""The states that a worker may say it has entered: how it ended is for main to say."""


def _check(is_right: bool, name: str, value: object) -> None:
    if not is_right:
        raise NotPlainError(f"{name} is {repr(value)[:100]}")


def _is_subarray(arguments: object) -> bool:
    """Say whether these are arguments that a device fills in."""
    if type(arguments) is not dict or list(arguments) != ["subarray_id"]:
        return False
    return type(arguments["subarray_id"]) is int and 0 <= arguments["subarray_id"] < 2**63


def _check_time(time: object, name: str = "time") -> None:
    _check(type(time) is float and 0.0 <= time < _LATEST, name, time)  # NaN is not


def _is_result(result: object) -> bool:
    return type(result) is str and len(result) <= LARGEST_RESULT and result.isascii()


def _check_reason(name: str, reason: object) -> None:
    _check(type(reason) is str and len(reason) <= LONGEST_REASON, name, reason)


def _check_path(name: str, path: object) -> None:
    _check(type(path) is str and 0 < len(path) <= LONGEST_PATH and "\0" not in path, name, path)


def require(is_so: bool, reason: str) -> None:
    """Go on if a message can be believed.

    :raises NotPlainError: it cannot be so
    """
    if not is_so:
        raise NotPlainError(reason)
