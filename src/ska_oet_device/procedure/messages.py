"""Every message that crosses a pipe: typed, frozen, and of plain data only.

Three pairs speak: the device server with main, main with a worker, and a worker with itself.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ..mptools import NotPlainError, dumps, encode, loads
from .state import ProcedureState

CONTROL, PUBSUB, LISTENING = 1, 2, 3
"""Frame tags: a message of this module; a script's pypubsub message (passed on unopened); "I listen"."""

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
    return encode(CONTROL, dumps((type(message).__name__, values)))


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
    """What a procedure's worker has read: path, sha256, git_commit and environment; else as LifecycleMessage."""

    msg_src: int
    provenance: Plain
    device: str = ""
    number: int = 0


Announcement = LifecycleMessage | ProvenanceMessage
"""What main tells of procedures: numbered, and repeated until acknowledged."""


# -- to a worker: the specification's four external messages


@_message
@dataclass(frozen=True)
class Load:
    """LOAD: load this script in a process of its own, and call its init if it has one.

    From the device server to main, and from main to the worker.  Nobody in between changes it, but that the link puts
    the device in, and main the source that another worker has prepared.

    - script, init_args, context: as plain data
    - path: of the script's file; "" for one in git
    - roots: the folders that may hold scripts
    - timeouts: seconds for each phase, 0 for none; grace: seconds from SIGTERM to SIGKILL
    - output: the file for what it prints; "" where that goes where the server's goes
    - max_memory: bytes, 0 for no limit
    - source: what a script in git comes from
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


@_message
@dataclass(frozen=True)
class Env:
    """ENV: install what the script depends on."""

    environment: Plain


@_message
@dataclass(frozen=True)
class Run:
    """RUN: call this function of the loaded script."""

    fn_name: str
    run_args: Plain
    context: Plain


@_message
@dataclass(frozen=True)
class PubSub:
    """PUBSUB: publish this message locally."""

    topic: str
    data: Plain


# -- a worker to itself: the specification's two internal messages


@dataclass(frozen=True)
class UserFnComplete:
    """USER_FN_COMPLETE: the function returned, or left by sys.exit(0)."""

    fn_name: str
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
    """The worker is about to exit; `outcome` is completed, failed or terminated."""

    outcome: str
    time: float
    reason: str
    stacktrace: str | None = None


# -- device server to main


@_message
@dataclass(frozen=True)
class RunFunction:
    """Have a worker call a function, now or when it is READY; `after` must have ended before."""

    device: str
    process_uid: int
    fn_name: str
    run_args: Plain
    context: Plain
    force_start: bool
    after: int | None


@_message
@dataclass(frozen=True)
class StopProcess:
    """End a procedure, whatever it is doing."""

    device: str
    process_uid: int


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
class Acknowledge:
    """Everything up to this number is recorded and need not be sent again."""

    number: int


@_message
@dataclass(frozen=True)
class Ping:
    """Are you there?"""

    token: int


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
class CaughtUp:
    """Everything that an earlier device server had not acknowledged has been sent again."""


@_message
@dataclass(frozen=True)
class Supply:
    """How the making of workers goes: problems (empty when all is well), whether any can be made, and by whom."""

    problems: list[str]
    supplying: bool
    template_pid: int | None


@_message
@dataclass(frozen=True)
class Pong:
    """The answer to a Ping."""

    token: int


@_message
@dataclass(frozen=True)
class Shutdown:
    """The device server is to end."""
