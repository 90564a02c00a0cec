"""What the use cases take and return: commands, summaries, and how things stand.  Plain frozen data."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..history import LifecycleEvent
from ..script import ExecutableScript, ProcedureInput
from ..state import ProcedureState
from ._lrc import CommandUpdate

LONGEST_ACTIVITY = 1000
"""Characters of what a script reports that it is doing."""

# -- commands


@dataclass(frozen=True)
class PrepareProcessCommand:
    """What is needed to load a script and prepare it for execution: the script and init's arguments."""

    script: ExecutableScript
    init_args: ProcedureInput


@dataclass(frozen=True)
class StartProcessCommand:
    """What is needed to start a function of a prepared script.

    With `force_start` the procedure need not be READY yet: the function is called when it is.  Without a
    `process_uid` (None) the newest that is READY is meant.
    """

    process_uid: int | None
    fn_name: str
    run_args: ProcedureInput
    force_start: bool = False


@dataclass(frozen=True)
class StopProcessCommand:
    """Which procedure to stop, whether the abort script follows (None: if there is one), and why it is stopped.

    Without a `process_uid` (None) the active one is meant.
    """

    process_uid: int | None
    run_abort: bool | None = None
    reason: str = ""


@dataclass(frozen=True)
class CheckCommand:
    """What is needed to check a script: how it would be prepared, and started if anybody has said so.

    Where both `fn_name` and `run_args` are None no start is looked at; where one is, it is what Run would take.
    """

    script: ExecutableScript
    init_args: ProcedureInput
    fn_name: str | None = None
    run_args: ProcedureInput | None = None


@dataclass(frozen=True)
class Caller:
    """Who asks: the Tango client, and the user it says it acts for.

    :param via: the command that was called, where it is another one than the use case is named after
    """

    client: str = ""
    user: str | None = None
    via: str = ""


# -- answers


@dataclass(frozen=True)
class ArgCapture:
    """A record of a function call asked for, and of the time (Unix seconds) of the request.

    Arguments that are not kept leave their size (bytes of JSON) as `shortened`, and their hash.
    """

    fn: str
    fn_args: ProcedureInput
    time: float
    shortened: int = 0
    sha256: str = ""

    @functools.cached_property
    def _measured(self) -> tuple[int, str]:
        text = json.dumps(self.fn_args.as_data(), default=repr).encode()
        return len(text), hashlib.sha256(text).hexdigest()

    @property
    def size(self) -> int:
        """How many bytes the arguments have as JSON.  Any thread; they are never changed, so it is found out once."""
        return self.shortened or self._measured[0]

    @property
    def kept(self) -> int:
        """How many bytes of arguments are kept."""
        return 0 if self.shortened else self.size

    @property
    def without_arguments(self) -> ArgCapture:
        """The same without its arguments, but with their size and their hash."""
        size, digest = (self.shortened, self.sha256) if self.shortened else self._measured
        return replace(self, fn_args=ProcedureInput(), shortened=size, sha256=digest)


@dataclass(frozen=True)
class CheckStep:
    """A step of a check: whether it went well (None: it was not reached), why not, and when (Unix seconds)."""

    step: str
    ok: bool | None = None
    reason: str | None = None
    time: float | None = None


@dataclass(frozen=True)
class CheckReport:
    """What has come of a check.

    - docstring, functions: the script's, functions by name as the contract tells them
    - provenance: what was read: path, sha256, git_commit and environment
    - time: when it was complete, in Unix seconds
    """

    check_id: int
    steps: tuple[CheckStep, ...]
    docstring: str | None
    functions: dict[str, Any]
    provenance: dict[str, Any]
    time: float

    @property
    def ok(self) -> bool:
        """Whether no step has failed."""
        return all(step.ok is not False for step in self.steps)


@dataclass(frozen=True)
class ProcedureHistory:
    """Execution history of a procedure spanning all transactions.

    - process_states: every state entered, with the time (Unix seconds)
    - stacktrace: the script's traceback if it raised
    - exit: exit_code, signal, reason, signals_sent, reaped and survivors, once the process has ended or is UNKNOWN;
      stop_reason, clean_up_error, result (what `main` has returned) or result_note where there are any
    - dropped_starts: every start that was dropped, as time (Unix seconds) and reason
    """

    process_states: tuple[tuple[ProcedureState, float], ...] = ()
    stacktrace: str | None = None
    exit: dict[str, Any] | None = None
    dropped_starts: tuple[tuple[float, str], ...] = ()

    def __post_init__(self) -> None:
        # The specification's callers pass a list, or None for no states.
        object.__setattr__(self, "process_states", tuple(self.process_states or ()))


@dataclass(frozen=True)
class RequestRecord:
    """Who asked for what, and when (Unix seconds)."""

    command: str
    client: str
    user: str | None
    time: float


@dataclass(frozen=True)
class ProcedureSummary:
    """A brief representation of a procedure at one moment; see the contract for each field."""

    id: int
    script: ExecutableScript
    script_args: tuple[ArgCapture, ...]
    history: ProcedureHistory
    state: ProcedureState
    uri: str | None = None
    run_id: str = ""
    provenance: dict[str, Any] | None = None
    requested_by: tuple[RequestRecord, ...] = ()
    os_pid: int | None = None


@dataclass(frozen=True)
class Active:
    """The procedure that is RUNNING, else the one that changed last; before the first, none."""

    process_uid: int = 0
    state: ProcedureState = ProcedureState.UNKNOWN
    fn_name: str = ""
    script_uri: str = ""


@dataclass(frozen=True)
class Failure:
    """The newest procedure that ended in FAILED or UNKNOWN, if no function has started since; time in Unix seconds."""

    process_uid: int
    script_uri: str
    state: ProcedureState
    reason: str
    time: float


@dataclass(frozen=True)
class Snapshot:
    """Everything that clients see of the procedures at one moment.  Summaries are oldest first.

    :ivar living: the summaries of those that have not ended, or are UNKNOWN
    """

    summaries: tuple[ProcedureSummary, ...] = ()
    living: tuple[ProcedureSummary, ...] = ()
    active: Active = Active()
    newest_failure: str = ""
    failure: Failure | None = None


@dataclass(frozen=True)
class Notices:
    """What Status says beside the state.

    :ivar abort_failed: the sentence on an abort script that did not do its work
    :ivar clean_up_failed: the sentence on a script that was stopped, and did not clean up
    """

    sentences: tuple[str, ...] = ()
    abort_failed: str = ""
    clean_up_failed: str = ""


@dataclass(frozen=True)
class Change:
    """A recorded lifecycle event, how things stood right after it, and what it means for long running commands."""

    event: LifecycleEvent
    snapshot: Snapshot
    updates: tuple[CommandUpdate, ...] = ()


@dataclass(frozen=True)
class Progress:
    """What a script reports of itself."""

    percent: float
    activity: str

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Progress | None:
        """Return what a message on the topic of progress reports; None if that is nothing from 0 to 100."""
        try:
            percent, activity = float(data["percent"]), str(data["activity"])[:LONGEST_ACTIVITY]
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
            return None
        return cls(percent, activity) if 0.0 <= percent <= 100.0 else None


@dataclass
class ScriptContext:
    """The execution context given to scripts: persistent operator overrides, and what is the device's.

    - wait_for_qa_ready: whether scripts wait until quality assurance is ready
    - subarray_id: number of the device's subarray
    """

    wait_for_qa_ready: bool = True
    subarray_id: int = 1

    def as_data(self) -> dict[str, Any]:
        return {"wait_for_qa_ready": self.wait_for_qa_ready, "subarray_id": self.subarray_id}
