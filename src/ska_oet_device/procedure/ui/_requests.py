"""What clients ask for: the arguments of the commands, checked against the contract and turned into requests."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, Union

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator
from pydantic.config import JsonDict

from ...config import LARGEST_ARGUMENT, MOST_VALUES
from ...errors import InvalidArgumentError, TooLargeError
from ..application import CheckCommand, HistoryQuery, PrepareProcessCommand, StartProcessCommand, StopProcessCommand
from ..gitmanager import GitArgs
from ..history import LARGEST_NUMBER, ProcedureFilter
from ..messages import LONGEST_STOP_REASON
from ..script import ExecutableScript, FileSystemScript, GitScript, ProcedureInput
from ..state import ProcedureState
from ._problems import DEEPEST, explain, shorten
from ._shapes import StateName

_LONGEST_USER = 128  # characters
_LONGEST_FUNCTION = 255
_LONGEST_PART = 1000  # of a text that is looked for
_LONGEST_RUN_ID = 36
_LOOKED_AT = 10_000  # characters


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


def _named(name: str) -> str:
    if not name.isidentifier():
        raise ValueError("is no name of a function")
    return name


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError("must be a finite number")
    return number


def _without_default(schema: JsonDict) -> None:
    schema.pop("default", None)


def says(text: str, default: Any = ..., **more: Any) -> Any:
    """Return a key whose description in the JSON Schema is `text`; `more` are limits, which are looked at here."""
    return Field(default, description=text, **more)


def _looks_like(text: str, **form: Any) -> Any:
    """Return a key of which the JSON Schema tells the form; whoever uses it looks at that, and says more of it."""
    return Field(description=text, json_schema_extra=form)


def _no_id(text: str) -> Any:
    """Return an id that may be left out; null is refused: somebody has meant a procedure, and has lost its id."""
    return Field(default=None, description=text, json_schema_extra=_without_default)


_Function = Annotated[str, Field(min_length=1, max_length=_LONGEST_FUNCTION), AfterValidator(_named)]
_Uid = Annotated[int, Field(ge=-LARGEST_NUMBER, le=LARGEST_NUMBER)]
_Time = Annotated[float, AfterValidator(_finite)]
_Part = Annotated[str, Field(max_length=_LONGEST_PART)]
_FUNCTION = "a Python name that the script defines itself, or lists in its __all__"


class Input(Model):
    """The arguments of a function; of a request at most 1 MiB, 50,000 values, and 200 levels of lists and objects."""

    args: list[JsonValue] = says("by position", [])
    kwargs: dict[str, JsonValue] = says("by name", {})

    @field_validator("args", "kwargs")
    @classmethod
    def _finite(cls, value: Any) -> Any:
        if not all(map(_is_finite, _leaves(value))):
            raise ValueError("NaN and Infinity are not JSON")
        return value

    def input(self) -> ProcedureInput:
        return ProcedureInput(*self.args, **self.kwargs)


class FileScript(Model):
    """A script on the file system, below one of the device's ScriptRoots."""

    script_type: Literal["filesystem"]
    script_uri: str = _looks_like(
        "file:///folder/name.py, or file://name.py below any of ScriptRoots; percent-encoded", pattern=r"^file://[\s\S]"
    )

    def script(self) -> ExecutableScript:
        return FileSystemScript(self.script_uri)


class GitSource(Model):
    """Where a script in git comes from; the commit goes before the branch, and that before the remote's default."""

    git_repo: str = _looks_like(
        "https, http, ssh, git or file URL, or user@host:path, without a password; below one of GitRepositories",
        minLength=1,
        maxLength=1024,
    )
    git_branch: Annotated[str, _looks_like("a branch or a tag", minLength=1, maxLength=1024)] | None = None
    git_commit: Annotated[str, _looks_like("4 to 40 hexadecimal digits", pattern="^[0-9A-Fa-f]{4,40}$")] | None = None


class GitSourceScript(Model):
    """A script in a git repository."""

    script_type: Literal["git"]
    script_uri: str = _looks_like("git:// and its path in the repository; percent-encoded", pattern="^git://[^/]")
    git_args: GitSource
    create_env: bool = says("whether it runs in an environment made of the project's requirements", False)

    def script(self) -> ExecutableScript:
        arguments = self.git_args
        return GitScript(
            self.script_uri,
            GitArgs(arguments.git_repo, arguments.git_branch, arguments.git_commit),
            self.create_env,
        )


_Script = Annotated[Union[FileScript, GitSourceScript], Field(discriminator="script_type")]  # noqa: UP007


class Request(Model):
    user: str | None = says("on whose behalf; kept in requested_by and in Requests", None, max_length=_LONGEST_USER)


class Prepare(Request):
    script: _Script
    init_args: Input = says("what init is given", Input())


class Run(Prepare):
    fn_name: _Function = says(f"what is started when the procedure is READY: {_FUNCTION}", "main")
    run_args: Input = says("what it is given", Input())


class Check(Prepare):
    fn_name: _Function | None = says(f"looked at as of Run: {_FUNCTION}", None)
    run_args: Input | None = says("what it would be given", None)


class Start(Request):
    process_uid: _Uid = _no_id("an id; without this key the newest procedure that is READY")
    fn_name: _Function = says(_FUNCTION, "main")
    run_args: Input = says("what it is given", Input())
    force_start: bool = says("ahead of time: it is called when the procedure is READY", False)


class Stop(Request):
    process_uid: _Uid = _no_id("an id; without this key the active procedure")
    run_abort: bool | None = says("whether the abort script follows; null: if the device has one", None)
    reason: str = says("why; kept in exit.stop_reason and in Requests", "", max_length=LONGEST_STOP_REASON)


class Output(Request):
    process_uid: _Uid
    offset: int = says("bytes", 0, ge=0, le=LARGEST_NUMBER)
    limit: int = says("bytes; never more than 512 KiB are told", 65536, ge=1)


class Requests(Request):
    before: int = says("requests with a lower number; 0: from the newest", 0, ge=0, le=LARGEST_NUMBER)
    limit: int = says("at most so many", 100, ge=1, le=1000)


class History(Model):
    since: _Time | None = says("created at this time or later (Unix seconds)", None)
    until: _Time | None = says("created before this time (Unix seconds)", None)
    script: _Part = says("a part of the script's URI", "")
    state: StateName | None = says("the state that it is in", None)
    user: _Part = says("a part of the user, or of the client, of an accepted request for it; not who asks", "")
    text: _Part = says("a part of script, functions, arguments, reasons, stack trace, or of who asked", "")
    before: int = says("procedures with a lower id; 0: from the newest", 0, ge=0, le=LARGEST_NUMBER)
    limit: int = says("at most so many", 100, ge=1, le=1000)
    run_id: str = says("exactly this procedure", "", max_length=_LONGEST_RUN_ID)


_R = TypeVar("_R", bound=Model)


@dataclass(frozen=True)
class OutputRequest:
    """What the Output command asks: a page of a procedure's output; offset and limit in bytes."""

    process_uid: int
    offset: int
    limit: int


@dataclass(frozen=True)
class RequestsRequest:
    """What the Requests command asks: the newest `limit` requests with a number below `before` (0: any)."""

    before: int
    limit: int


@dataclass(frozen=True)
class RunRequest:
    """What the Run command asks: a preparation, and the function to start after it."""

    prepare: PrepareProcessCommand
    fn_name: str
    run_args: ProcedureInput


# -- the parsers; each returns the command and the user who is said to ask


def parse_prepare(text: str) -> tuple[PrepareProcessCommand, str | None]:
    """Parse the argument of Prepare: JSON, or a bare script URI.

    :raises InvalidArgumentError: it is neither; says where
    :raises TooLargeError: it is longer than a request may be
    """
    request = _parse(Prepare, text, _bare_script)
    return _prepare_command(request), request.user


def parse_run(text: str) -> tuple[RunRequest, str | None]:
    """Parse the argument of Run: JSON, or a bare script URI; raises as `parse_prepare`."""
    request = _parse(Run, text, _bare_script)
    return RunRequest(_prepare_command(request), request.fn_name, request.run_args.input()), request.user


def parse_check(text: str) -> tuple[CheckCommand, str | None]:
    """Parse the argument of Check: JSON, or a bare script URI; raises as `parse_prepare`."""
    request = _parse(Check, text, _bare_script)
    prepare = _prepare_command(request)
    run_args = request.run_args.input() if request.run_args is not None else None
    return CheckCommand(prepare.script, prepare.init_args, request.fn_name, run_args), request.user


def parse_start(text: str) -> tuple[StartProcessCommand, str | None]:
    """Parse the argument of Start: JSON, a bare procedure id, or nothing at all; raises as `parse_prepare`."""
    request = _parse(Start, text, _bare_id_or_nothing)
    command = StartProcessCommand(request.process_uid, request.fn_name, request.run_args.input(), request.force_start)
    return command, request.user


def parse_stop(text: str) -> tuple[StopProcessCommand, str | None]:
    """Parse the argument of Stop: JSON, a bare procedure id, or nothing at all; raises as `parse_prepare`."""
    request = _parse(Stop, text, _bare_id_or_nothing)
    return StopProcessCommand(request.process_uid, request.run_abort, request.reason), request.user


def parse_output(text: str) -> tuple[OutputRequest, str | None]:
    """Parse the argument of Output: JSON, or a bare procedure id; raises as `parse_prepare`."""
    request = _parse(Output, text, _bare_id)
    return OutputRequest(request.process_uid, request.offset, request.limit), request.user


def parse_requests(text: str) -> tuple[RequestsRequest, str | None]:
    """Parse the argument of Requests: JSON, or nothing at all for the newest; raises as `parse_prepare`."""
    request = _parse(Requests, text.strip() or "{}", _nothing_bare)
    return RequestsRequest(request.before, request.limit), request.user


def parse_history(text: str) -> tuple[HistoryQuery, str | None]:
    """Parse the argument of History: JSON, or nothing at all for the newest; raises as `parse_prepare`.

    Its user is whom it looks for, and not who asks.
    """
    request = _parse(History, text.strip() or "{}", _nothing_bare)
    state = ProcedureState[request.state] if request.state is not None else None
    wanted = ProcedureFilter(
        request.since, request.until, request.script, state, request.user, request.text, request.run_id
    )
    return HistoryQuery(wanted, request.before, request.limit), None


def script_of_uri(uri: str) -> ExecutableScript:
    """Return the script that a bare URI names.

    :raises InvalidArgumentError: not a URI of a script on the file system
    """
    try:
        return FileSystemScript(uri)
    except ValueError as error:
        hint = f"; did you mean file://{shorten(uri)}?" if "://" not in uri and uri else ""
        raise InvalidArgumentError(f"{error}{hint}") from None


def _prepare_command(request: Prepare) -> PrepareProcessCommand:
    try:
        return PrepareProcessCommand(request.script.script(), request.init_args.input())
    except ValueError as error:
        raise InvalidArgumentError(f"script: {error}") from None


def _parse(model: type[_R], text: str, bare: Any) -> _R:
    if len(text) > LARGEST_ARGUMENT:
        raise TooLargeError(f"the argument has {len(text)} characters; {LARGEST_ARGUMENT} are allowed")
    if _values_in(text) > MOST_VALUES:
        _check_values(_without_strings(text))
    stripped = text.strip()
    try:
        if stripped.startswith("{"):
            return model.model_validate_json(stripped)
        return model.model_validate(bare(stripped))
    except ValidationError as error:
        raise InvalidArgumentError(explain(error, model)) from None


def _values_in(text: str) -> int:
    """Return how many values a JSON text without strings may hold, at the utmost; one with strings: or fewer."""
    return 1 + text.count(",") + text.count("[") + text.count("{")


def _without_strings(text: str) -> str:
    """Return what stands outside of the strings of a JSON text: every other piece between quotes."""
    return "".join(text.replace("\\\\", "").replace('\\"', "").split('"')[::2])


def _check_values(text: str) -> None:
    """Refuse a JSON text, whose strings have been left out, of too many values; one that is no JSON if that is seen."""
    if _values_in(text) <= MOST_VALUES:
        return
    brackets = (1 if bracket in "[{" else -1 for bracket in re.findall(r"[\[\]{}]", text[:_LOOKED_AT]))
    if max(itertools.accumulate(brackets), default=0) > DEEPEST:
        raise InvalidArgumentError(f"the argument's lists and objects are nested more than {DEEPEST} levels deep")
    raise TooLargeError(f"the argument holds more than {MOST_VALUES} values")


def _bare_script(text: str) -> dict[str, Any]:
    script_of_uri(text)
    return {"script": {"script_type": "filesystem", "script_uri": text}}


def _bare_id(text: str) -> dict[str, Any]:
    # isdigit alone would let other alphabets' digits and thousands of them through.
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise InvalidArgumentError(f"{shorten(text)!r} is neither a JSON object nor a procedure id")
    return {"process_uid": int(text)}


def _bare_id_or_nothing(text: str) -> dict[str, Any]:
    return _bare_id(text) if text else {}


def _nothing_bare(text: str) -> dict[str, Any]:
    raise InvalidArgumentError(f"{shorten(text)!r} is no JSON object")


def _leaves(value: Any) -> Iterator[Any]:
    """Yield the values in lists and dictionaries that are neither."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        else:
            yield value


def _is_finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)
