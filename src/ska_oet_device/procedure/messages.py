"""Every message that crosses a pipe: typed, frozen, and of plain data only.

Four pairs speak: the device server with main, main with a worker, a worker with itself, and main with the recorder.
"""

from __future__ import annotations

import dataclasses
import signal
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ..mptools import NotPlainError, dumps, encode, loads
from .script_message import LARGEST_SAID
from .state import ProcedureState

CONTROL, PUBSUB, LISTENING = 1, 2, 3
"""Frame tags: a message of this module; a script's pypubsub message (passed on unopened); "I listen"."""

LONGEST_NAME = 1000
"""Characters of a function's name that a worker tells."""

LONGEST_REASON = 4000
"""Characters of the reason that a worker may give for its end."""

LONGEST_STOP_REASON = 300
"""Characters of the reason that somebody gives for a Stop, or a script for ending itself."""

LONGEST_DELAY = 300
"""Characters in which a worker tells what its end waits for."""

LARGEST_TOLD = 256 * 1024
"""Bytes of a message of this module that a worker may send."""

FROM_WORKER = {CONTROL: LARGEST_TOLD, PUBSUB: LARGEST_SAID, LISTENING: 0}
"""What a worker may send: bytes for each tag."""

LARGEST_RESULT = 64 * 1024
"""Bytes of the JSON of what `main` returns."""

TERMINATED_STATUS = 128 + signal.SIGTERM
"""The exit status of a worker that ended because it was told to, and whose clean-up nothing speaks against."""

CLEAN_UP_FAILED_STATUS = 1
"""The exit status of one that was told to end, and of which an exit function has raised."""

CHECK_STEPS = ("found", "compiles", "environment", "imports", "functions", "arguments")
"""The steps of a check, in their order."""

LARGEST_FINDINGS = 36 * 1024
"""Bytes of JSON of what a check tells of a script's functions, its docstring among them; fewer beside a longer path."""

LARGEST_PATH_BESIDE = 12 * 1024
"""Bytes of JSON of a path beside which there is room for all of them: one of control characters may have twice that."""

LONGEST_CHECK_REASON = 1000
"""Characters of the reason of a step: with findings and a path as long as they may be a report has less than 64 KiB."""

Plain = dict[str, Any]

_BY_NAME: dict[str, type] = {}
_M = TypeVar("_M", bound=type)


def _message(cls: _M) -> _M:
    _BY_NAME[cls.__name__] = cls
    return cls


def to_frame(message: Any) -> bytes:
    """Return `message` as one frame of tag CONTROL."""
    values = [getattr(message, item.name) for item in dataclasses.fields(message)]
    values = [int(value) if isinstance(value, ProcedureState) else value for value in values]
    return encode(CONTROL, dumps([type(message).__name__, values]))


def from_payload(payload: bytes) -> Any:
    """Return the message in a frame of tag CONTROL.

    :raises NotPlainError: the payload is no message of this module
    """
    try:
        name, values = loads(payload)
        return _BY_NAME[name](*values)
    except (KeyError, TypeError, ValueError) as error:
        raise NotPlainError(f"not a message: {error!r}") from error


@_message
@dataclass(frozen=True)
class LifecycleMessage:
    """A procedure entered a state: the one shape of a change, from main to the listeners of the bus.

    READY after READY says that a start was dropped, and `reason` which one.

    - msg_src: id of the procedure
    - new_state: the state entered
    - device: name of the procedure's device
    - time: Unix seconds, taken where it happened; 0: not said
    - reason: one sentence; always there for FAILED
    - stacktrace: the script's traceback, if it raised
    - exit: how the process ended, for terminal states
    - os_pid: the worker's process id while it lives
    - fn_name: the function that began, for INITIALISING and RUNNING
    - number: main's number of the announcement, which is repeated until acknowledged; 0: nobody waits for that
    """

    msg_src: int
    new_state: ProcedureState
    device: str = ""
    time: float = 0.0
    reason: str | None = None
    stacktrace: str | None = None
    exit: Plain | None = None
    os_pid: int | None = None
    fn_name: str | None = None
    number: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "new_state", ProcedureState(self.new_state))  # a number, where it crossed a pipe


@_message
@dataclass(frozen=True)
class ProvenanceMessage:
    """What a procedure's worker has read: path, sha256, git_commit and environment; else as LifecycleMessage.

    Told once more when a function was given arguments that nobody asked for: `filled_in` has them for each function.
    """

    msg_src: int
    provenance: Plain
    device: str = ""
    number: int = 0


@_message
@dataclass(frozen=True)
class DelayMessage:
    """The process of a procedure goes on although it should end, and `where` it is; told again, at most 30 s apart.

    Not kept for a device server that is not there.
    """

    msg_src: int
    where: str
    device: str = ""


Announcement = LifecycleMessage | ProvenanceMessage
"""What main tells of procedures: numbered, and repeated until acknowledged."""


# -- to a worker: the specification's four external messages, and a question


@_message
@dataclass(frozen=True)
class Load:
    """LOAD: load this script in a process of its own, and call its init if it has one.

    From the device server to main, and from main to the worker.  Nobody in between changes it, but that the link puts
    the device in, and main the source that another worker has prepared.

    - script, init_args: as plain data
    - context: what every script of the device is told, as plain data: wait_for_qa_ready and subarray_id
    - path: of the script's file; "" for one in git
    - roots: the folders that may hold scripts
    - timeouts: seconds for each phase, 0 for none; grace: seconds from SIGTERM to SIGKILL
    - output: the file for what it prints; "" where that goes where the server's goes
    - folder: what it finds as this_run().folder, which it makes; "" where nothing is kept
    - max_memory: bytes, 0 for no limit
    - max_output: bytes of what it prints that are kept, 0 for all
    - source: what a script in git comes from
    - compatible: whether what other executors offer to scripts can be imported
    - traceparent: the W3C trace context of the request; "" where nobody traces
    - asked: when the device server has sent it, in Unix seconds, for the trace; 0: nobody traces
    """

    process_uid: int
    run_id: str
    script: Plain
    path: str
    roots: list[str]
    init_args: Plain
    context: Plain
    timeouts: dict[str, float]
    grace: float
    output: str = ""
    max_memory: int = 0
    source: Plain | None = None
    device: str = ""
    compatible: bool = False
    folder: str = ""
    max_output: int = 0
    traceparent: str = ""
    asked: float = 0.0


@_message
@dataclass(frozen=True)
class Check(Load):
    """Load this script as Load does, call nothing of it, and tell what there is to tell of it step by step.

    From the device server to main, and from main to a worker of its own.  `process_uid` is 0: it is no procedure.

    - check_id: the device's number of the check
    - fn_name, run_args: the function that is to be started, and its arguments; None: nobody has said
    """

    check_id: int = 0
    fn_name: str | None = None
    run_args: Plain | None = None


@_message
@dataclass(frozen=True)
class Env:
    """ENV: install what the script depends on."""

    environment: Plain


@_message
@dataclass(frozen=True)
class Run:
    """RUN: call this function of the loaded script; `traceparent` and `asked` are those of RunFunction."""

    fn_name: str
    run_args: Plain
    context: Plain
    traceparent: str = ""
    asked: float = 0.0


@_message
@dataclass(frozen=True)
class PubSub:
    """PUBSUB: publish this message locally."""

    topic: str
    data: Plain


@_message
@dataclass(frozen=True)
class AskDelay:
    """What does the end of the process wait for?  Answered by Delay."""


# -- a worker to itself: the specification's two internal messages


@dataclass(frozen=True)
class UserFnComplete:
    """USER_FN_COMPLETE: the function returned a value, or left by sys.exit(0)."""

    fn_name: str
    value: Any = None
    exited: bool = False


@dataclass(frozen=True)
class UserFnFailed:
    """USER_FN_FAILED: the function raised."""

    fn_name: str
    exception: BaseException


# -- worker to main


@_message
@dataclass(frozen=True)
class StateEntered:
    """The worker entered a state that is not terminal, at `time` (Unix seconds)."""

    state: int
    time: float
    fn_name: str = ""


@_message
@dataclass(frozen=True)
class ScriptLoaded:
    """What was read: path, sha256, git_commit and environment."""

    provenance: Plain


@_message
@dataclass(frozen=True)
class FilledIn:
    """The function that has just begun is given these arguments by the device, since nobody else has given them."""

    arguments: Plain


@_message
@dataclass(frozen=True)
class EnvironmentReady:
    """The environment of the script is made; the worker ends, and one of that environment goes on.

    `source` is what that worker is to know of the script, `path` the script's file, `folder` the environment's.
    """

    folder: str
    path: str
    source: Plain


@_message
@dataclass(frozen=True)
class Finished:
    """The worker is about to exit.

    - outcome: completed, failed, terminated (by SIGTERM), or stopped (by the script itself; `reason` is the script's)
    - moment: when, in seconds of the monotonic clock, which all processes share: to be compared with that of a Stop
    - clean_up_error: what the script has raised instead of what had interrupted it; "": nothing
    - unaware: of one that has completed: a SIGTERM that has arrived has interrupted nothing of it
    - result: of one that has completed: what `main` has returned, as JSON text, which nobody on the way has to read
    - result_note: why that is not there
    """

    outcome: str
    moment: float
    reason: str
    stacktrace: str | None = None
    clean_up_error: str = ""
    unaware: bool = False
    result: str | None = None
    result_note: str = ""


@_message
@dataclass(frozen=True)
class CheckStep:
    """A step of a check is done, at `time` (Unix seconds); `reason`, where it has failed, as a procedure's would be."""

    step: str
    ok: bool
    reason: str | None
    time: float


@_message
@dataclass(frozen=True)
class CheckFindings:
    """What a check has found in a script: its docstring, and its functions as the contract tells them."""

    docstring: str | None
    functions: Plain


# -- device server to main, and from main to a worker


@_message
@dataclass(frozen=True)
class ContextChanged:
    """Functions that are called from now on are given this context; see Load."""

    device: str
    context: Plain


@_message
@dataclass(frozen=True)
class Delay:
    """The answer to AskDelay: where the process is, such as ``waiting for thread 't' in f (follow.py line 5)``."""

    where: str


# -- device server to main


@_message
@dataclass(frozen=True)
class RunFunction:
    """Have a worker call a function, now or when it is READY; `after` must have ended before.

    - traceparent, asked: see Load; of the request that wants this function called
    """

    device: str
    process_uid: int
    fn_name: str
    run_args: Plain
    force_start: bool
    after: int | None
    traceparent: str = ""
    asked: float = 0.0


@_message
@dataclass(frozen=True)
class StopProcess:
    """End a procedure, whatever it is doing; `reason` is that of whoever asks."""

    device: str
    process_uid: int
    reason: str = ""


@_message
@dataclass(frozen=True)
class Broadcast:
    """Publish a message in every script of the device."""

    device: str
    topic: str
    data: Plain


@_message
@dataclass(frozen=True)
class Configure:
    """How many spare workers to keep, and what their template imports."""

    spares: int
    preload: list[str]


@_message
@dataclass(frozen=True)
class LimitOutput:
    """How many bytes are kept of what each living procedure of a device prints; 0: all."""

    device: str
    limit: int


@_message
@dataclass(frozen=True)
class Acknowledge:
    """Everything up to this number is recorded and need not be sent again."""

    number: int


@_message
@dataclass(frozen=True)
class ServerStarts:
    """There is nothing more to wait for: the Tango database, if one is used, has answered."""


@_message
@dataclass(frozen=True)
class HistoryMigrates:
    """The history of an earlier version is being made one of this, which takes its time; said once a minute."""


@_message
@dataclass(frozen=True)
class ServerReady:
    """Every device is initialised and exported."""


@_message
@dataclass(frozen=True)
class CannotServe:
    """The device server ends, because it cannot start."""

    reason: str


@_message
@dataclass(frozen=True)
class StopEverything:
    """The server was told to end: stop every procedure, then say Shutdown."""


# -- main to device server


@_message
@dataclass(frozen=True)
class Welcome:
    """The first message to a device server: what lives, and how main does.

    `boot` tells this main process from any other; `living` describes each living procedure:
    device, process_uid, run_id, script, path, os_pid, states, and the starts that were dropped.
    `restarted` says that an earlier device server of this main has served.
    """

    main_pid: int
    boot: str
    living: list[Plain]
    problems: list[str] = field(default_factory=list)
    supplying: bool = True
    template_pid: int | None = None
    restarted: bool = False


@_message
@dataclass(frozen=True)
class CheckDone:
    """A check is over, and nothing of it is left.  Not kept for a device server that is not there.

    - steps: {step: ok, reason and time} of those that were reached
    - docstring, functions: see CheckFindings
    - provenance: what was read, as far as it was
    """

    device: str
    check_id: int
    steps: Plain
    docstring: str | None
    functions: Plain
    provenance: Plain | None


@_message
@dataclass(frozen=True)
class CaughtUp:
    """Everything that an earlier device server had not acknowledged has been sent again."""


@_message
@dataclass(frozen=True)
class Supply:
    """How main does: problems (empty when all is well), whether workers can be made, and by whom.

    Problems are those of the making of workers, and of the recording of what they print.
    """

    problems: list[str]
    supplying: bool
    template_pid: int | None


@_message
@dataclass(frozen=True)
class Shutdown:
    """The device server is to end."""


# -- main to the recorder, and back


@_message
@dataclass(frozen=True)
class Record:
    """Take what comes by the pipe that is sent with this to a file, of which `limit` bytes are kept; 0: all.

    The number is main's, for what follows.
    """

    number: int
    path: str
    limit: int


@_message
@dataclass(frozen=True)
class LimitRecording:
    """Keep so many bytes from now on."""

    number: int
    limit: int


@_message
@dataclass(frozen=True)
class RecordingFails:
    """What cannot be done, in a sentence; empty: a file could be opened again, or for the first time."""

    number: int
    problem: str


# -- either of two to the other


@_message
@dataclass(frozen=True)
class Ping:
    """Are you there?"""

    token: int


@_message
@dataclass(frozen=True)
class Pong:
    """The answer to a Ping."""

    token: int
