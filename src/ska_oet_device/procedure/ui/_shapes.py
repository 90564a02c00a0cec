"""The shapes of what clients are told: mypy holds the answers to them, and their JSON Schemas are made from them.

What is said of a key here is its description in the schema.  Times are Unix seconds.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, with_config
from typing_extensions import NotRequired, TypedDict  # Python's own cannot be made a schema before 3.12

StateName = Literal[
    "UNKNOWN", "CREATING", "IDLE", "PREP_ENV", "LOADING", "INITIALISING", "READY", "RUNNING", "COMPLETE", "STOPPED",
    "FAILED",
]  # fmt: skip
"""The name of a ProcedureState."""


def _says(text: str, **more: Any) -> Any:
    return Field(description=text, **more)


_closed = with_config(ConfigDict(extra="forbid"))
"""There are no other keys than these."""

Time = Annotated[float, _says("Unix seconds")]
Id = Annotated[int, _says("a procedure's id on its device", ge=1)]
IdOrNone = Annotated[int, _says("a procedure's id on its device; 0: none", ge=0)]
RunId = Annotated[str, _says("a UUID (version 7)")]
Number = Annotated[int, _says("counts up on the device", ge=0)]

# -- scripts


@_closed
class FileScript(TypedDict):
    """A script on the file system."""

    script_type: Literal["filesystem"]
    script_uri: Annotated[str, _says("file://…, percent-encoded")]


@_closed
class GitSource(TypedDict):
    """Where a script in git comes from: the commit goes before the branch, and that before the remote's default."""

    git_repo: str
    git_branch: Annotated[str | None, _says("a branch or a tag")]
    git_commit: Annotated[str | None, _says("4 to 40 hexadecimal digits")]


@_closed
class GitSourceScript(TypedDict):
    """A script in a git repository."""

    script_type: Literal["git"]
    script_uri: Annotated[str, _says("git://…, the path in the repository")]
    git_args: GitSource
    create_env: Annotated[bool, _says("whether it runs in an environment of its own")]


Script = Annotated[FileScript | GitSourceScript, Field(discriminator="script_type")]


@_closed
class Provenance(TypedDict):
    """What was read, and run."""

    path: Annotated[str | None, _says("null until it is known")]
    sha256: Annotated[str | None, _says("of the script's text; null until it has been read")]
    git_commit: str | None
    environment: Annotated[str | None, _says("an env_id, as Environments tells it")]
    filled_in: NotRequired[
        Annotated[dict[str, dict[str, Any]], _says("what functions were given, since nobody else had: by function")]
    ]


# -- procedures


@_closed
class Arguments(TypedDict):
    """The arguments of a call; those that are not kept, or have no room, leave their size and their hash."""

    args: list[Any]
    kwargs: dict[str, Any]
    shortened: NotRequired[Annotated[int, _says("bytes of their JSON; some, or all, are missing here", ge=1)]]
    sha256: NotRequired[Annotated[str | None, _says("of their JSON")]]


@_closed
class Call(TypedDict):
    """A function that was asked for."""

    fn: str
    fn_args: Arguments
    time: Time


@_closed
class Exit(TypedDict):
    """How a process has ended."""

    exit_code: int | None
    signal: Annotated[int | None, _says("the number of the signal that ended it")]
    reason: str
    signals_sent: list[str]
    reaped: Annotated[list[int], _says("processes that it had left behind, and that were killed")]
    survivors: Annotated[list[int], _says("processes that are alive all the same")]
    result: NotRequired[Annotated[Any, _says("what main has returned")]]
    result_note: NotRequired[Annotated[str, _says("why what main has returned is not kept")]]
    stop_reason: NotRequired[Annotated[str, _says("the reason that was given for the Stop")]]
    clean_up_error: NotRequired[Annotated[str, _says("why the script has not cleaned up")]]


@_closed
class DroppedStart(TypedDict):
    """A start that was dropped, and why."""

    time: Time
    reason: str


class _Past(TypedDict):
    process_states: Annotated[list[tuple[StateName, float]], _says("states entered, with the time (Unix seconds)")]
    exit: Annotated[Exit | None, _says("null until the process has ended, or is UNKNOWN")]
    dropped_starts: list[DroppedStart]


@_closed
class BriefPast(_Past):
    """What a procedure has been through, without its stack trace."""


@_closed
class Past(_Past):
    """What a procedure has been through."""

    stacktrace: str | None


@_closed
class Asked(TypedDict):
    """Who asked for what."""

    command: str
    client: Annotated[str, _says("as Tango knows it")]
    user: Annotated[str | None, _says("as it was named in the argument")]
    time: Time


class Procedure(TypedDict):
    """What every summary has."""

    id: Id
    uri: Annotated[str, _says("the device's name as a DeviceProxy takes it, # and the id")]
    run_id: RunId
    script: Script
    provenance: Provenance | None
    script_args: list[Call]
    requested_by: list[Asked]
    os_pid: Annotated[int | None, _says("of its process, while there is one")]
    state: StateName


@_closed
class Summary(Procedure):
    """A ProcedureSummary."""

    history: Past


@_closed
class BriefSummary(Procedure):
    """A ProcedureSummary of at most 2 KiB, as the attribute `procedures` has it; texts that are too long end in "…"."""

    history: BriefPast
    left_out: NotRequired[Annotated[dict[str, int], _says("how many entries are missing, and from which list")]]


# -- events, and what else can be asked for


@_closed
class Event(TypedDict):
    """A lifecycle event."""

    sequence: Annotated[int, _says("counts up by one on the device", ge=1)]
    process_uid: Id
    run_id: RunId
    previous: Annotated[StateName | None, _says("null: it is new")]
    state: StateName
    time: Time
    reason: str | None


@_closed
class ScriptMessage(TypedDict):
    """A message that a script has published."""

    sequence: Annotated[int, _says("counts up by one on the device, and does not begin at 1", ge=1)]
    process_uid: Id
    topic: str
    kwargs: Annotated[dict[str, Any] | None, _says("what it carries; null where that is too large")]
    time: Time
    skipped: Annotated[int, _says("how many were left out since the one that was pushed before", ge=0)]
    size: NotRequired[Annotated[int, _says("bytes of what it carries, where ScriptEvents has that and an event not")]]


@_closed
class Nothing(TypedDict):
    """An object without keys: there has been none yet."""


@_closed
class Request(TypedDict):
    """A request, and what became of it."""

    number: Number
    time: Time
    command: str
    client: str
    user: str | None
    process_uid: IdOrNone
    answer: Annotated[str, _says("accepted, or the refusal")]


@_closed
class OutputPage(TypedDict):
    """A page of what a script and its children have printed; offsets in bytes."""

    text: str
    offset: Annotated[int, _says("where this page begins", ge=0)]
    next_offset: Annotated[int, _says("where the next one does", ge=0)]
    complete: Annotated[bool, _says("whether nothing more will follow")]


EnvironmentStateName = Literal["CREATING", "READY", "FAILED"]


@_closed
class EnvironmentShape(TypedDict):
    """An environment of scripts."""

    env_id: str
    state: EnvironmentStateName
    size: Annotated[int, _says("bytes", ge=0)]
    created: Time
    last_used: Time
    in_use: bool
    description: str
    log: Annotated[str, _says("the path of what was printed when it was built")]
    reason: Annotated[str, _says("why it is FAILED")]
    packages: Annotated[list[str], _says("name==version")]


# -- checks


StepName = Literal["found", "compiles", "environment", "imports", "functions", "arguments"]


@_closed
class Step(TypedDict):
    """A step of a check; null: it was not reached."""

    step: StepName
    ok: bool | None
    reason: str | None
    time: Annotated[float | None, _says("Unix seconds")]


@_closed
class Function(TypedDict):
    """A function that may be asked for."""

    signature: str
    docstring: str | None
    parameters: Annotated[dict[str, Any], _says("JSON Schema of the object of its arguments by name")]


@_closed
class CheckId(TypedDict):
    """The number of a check that is under way."""

    check_id: Annotated[int, _says("ask CheckReport", ge=1)]


@_closed
class CheckUnderWay(TypedDict):
    """A check that is not complete."""

    check_id: int
    complete: Literal[False]


@_closed
class Report(TypedDict):
    """What has come of a check."""

    check_id: int
    complete: Literal[True]
    ok: Annotated[bool, _says("whether no step has failed")]
    steps: list[Step]
    docstring: str | None
    functions: dict[str, Function]
    provenance: Provenance


# -- long running commands


@_closed
class LongRunning(TypedDict):
    """A long running command, as the SKA's devices tell of theirs."""

    uid: Annotated[str, _says("its unique id: <Unix time>_<integer>_<name>")]
    name: Literal["RunScript", "PrepareScript", "StartScript", "Abort"]
    submitted_time: Annotated[str, _says("ISO 8601, with +00:00")]
    started_time: NotRequired[Annotated[str, _says("ISO 8601, with +00:00")]]
    finished_time: NotRequired[Annotated[str, _says("ISO 8601, with +00:00")]]
    progress: NotRequired[Annotated[int, _says("per cent", ge=0, le=100)]]
    status: NotRequired[Literal["COMPLETED", "ABORTED", "REJECTED", "FAILED"]]
    result: NotRequired[Annotated[tuple[int, str], _says("code and text")]]


@_closed
class CommandNews(TypedDict):
    """What is new of a long running command; the result comes with the last status."""

    status: NotRequired[Annotated[int, _says("a TaskStatus", ge=0, le=7)]]
    progress: NotRequired[Annotated[int, _says("per cent", ge=0, le=100)]]
    result: NotRequired[Annotated[tuple[int, str], _says("code and text")]]
