"""What a history keeps: plain values, without the application's notion of a summary."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, overload

from ..state import ProcedureState

LARGEST_NUMBER = 2**63 - 1
"""The largest id or sequence number that a database can hold."""


MOST_ENTRIES = 1000
"""Of a procedure's states, calls and requests the first and the newest are told, so many of each kind."""


@overload
def readable(text: str) -> str: ...
@overload
def readable(text: None) -> None: ...
@overload
def readable(text: str | None) -> str | None: ...
def readable(text: str | None) -> str | None:
    """Return `text` as any database can keep it: PostgreSQL takes neither NUL nor lone surrogates."""
    if text is None:
        return None
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")


@dataclass(frozen=True)
class LifecycleEvent:
    """One lifecycle change of one procedure, numbered without gaps on its device.

    `previous` is None for a procedure that is new; `time` is Unix time, taken where it happened.
    """

    sequence: int
    process_uid: int
    run_id: str
    previous: ProcedureState | None
    state: ProcedureState
    time: float
    reason: str | None


@dataclass(frozen=True)
class StoredCall:
    """A call of a function that was asked for.

    Arguments that are not kept leave their size (bytes of JSON) as `shortened`, and their `sha256`, in `fn_args`.
    """

    fn: str
    fn_args: dict[str, Any]
    time: float


@dataclass(frozen=True)
class StoredRequest:
    """A request of a client, and what became of it.

    `number` counts up on its device; `process_uid` is 0 where the request named none; `answer`
    is ``accepted`` or the refusal.
    """

    number: int
    time: float
    command: str
    client: str
    user: str | None
    process_uid: int
    answer: str


@dataclass(frozen=True)
class StoredProcedure:
    """A procedure as the history knows it.

    `states` are (state, Unix time) in order, `dropped` the starts that were dropped as (Unix time,
    reason); `abort_of` is the procedure that this one is the abort script of.
    """

    id: int
    run_id: str
    uri: str
    script: dict[str, Any]
    provenance: dict[str, Any] | None
    state: ProcedureState
    stacktrace: str | None = None
    exit: dict[str, Any] | None = None
    os_pid: int | None = None
    function: str = ""
    abort_of: int | None = None
    states: tuple[tuple[ProcedureState, float], ...] = ()
    dropped: tuple[tuple[float, str], ...] = ()
    calls: tuple[StoredCall, ...] = ()
    requests: tuple[StoredRequest, ...] = field(default=())
