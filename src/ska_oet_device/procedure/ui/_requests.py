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

_LONGEST_USER = 128  # characters
_LONGEST_FUNCTION = 255
_LONGEST_PART = 1000  # of a text that is looked for
_LONGEST_RUN_ID = 36
_LOOKED_AT = 10_000  # characters


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


def _named(name: str) -> str:
    if not name.isidentifier():
        raise ValueError("is no name of a function")
    return name


def _without_default(schema: JsonDict) -> None:
    schema.pop("default", None)


_Function = Annotated[str, Field(min_length=1, max_length=_LONGEST_FUNCTION), AfterValidator(_named)]
_Uid = Annotated[int, Field(ge=-LARGEST_NUMBER, le=LARGEST_NUMBER)]
_NO_ID: Any = Field(default=None, json_schema_extra=_without_default)
"""A key that may be left out; null is refused: somebody has meant a procedure, and has lost its id."""


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError("must be a finite number")
    return number


_Time = Annotated[float, AfterValidator(_finite)]
_Part = Annotated[str, Field(max_length=_LONGEST_PART)]
_StateName = Literal[
    "UNKNOWN", "CREATING", "IDLE", "PREP_ENV", "LOADING", "INITIALISING", "READY", "RUNNING", "COMPLETE", "STOPPED",
    "FAILED",
]  # fmt: skip


class _Input(_Model):
    args: list[JsonValue] = []
    kwargs: dict[str, JsonValue] = {}

    @field_validator("args", "kwargs")
    @classmethod
    def _finite(cls, value: Any) -> Any:
        if not all(map(_is_finite, _leaves(value))):
            raise ValueError("NaN and Infinity are not JSON")
        return value

    def input(self) -> ProcedureInput:
        return ProcedureInput(*self.args, **self.kwargs)


class _FileSystemScript(_Model):
    script_type: Literal["filesystem"]
    script_uri: str

    def script(self) -> ExecutableScript:
        return FileSystemScript(self.script_uri)


class _GitArgs(_Model):
    git_repo: str
    git_branch: str | None = None
    git_commit: str | None = None


class _GitScript(_Model):
    script_type: Literal["git"]
    script_uri: str
    git_args: _GitArgs
    create_env: bool = False

    def script(self) -> ExecutableScript:
        arguments = self.git_args
        return GitScript(
            self.script_uri,
            GitArgs(arguments.git_repo, arguments.git_branch, arguments.git_commit),
            self.create_env,
        )


_Script = Annotated[Union[_FileSystemScript, _GitScript], Field(discriminator="script_type")]  # noqa: UP007


class _Request(_Model):
    user: str | None = Field(None, max_length=_LONGEST_USER)


class _Prepare(_Request):
    script: _Script
    init_args: _Input = _Input()


class _Run(_Prepare):
    fn_name: _Function = "main"
    run_args: _Input = _Input()


class _Check(_Prepare):
    fn_name: _Function | None = None
    run_args: _Input | None = None


class _Start(_Request):
    process_uid: _Uid = _NO_ID
    fn_name: _Function = "main"
    run_args: _Input = _Input()
    force_start: bool = False


class _Stop(_Request):
    process_uid: _Uid = _NO_ID
    run_abort: bool | None = None
    reason: str = Field("", max_length=LONGEST_STOP_REASON)


class _Output(_Request):
    process_uid: _Uid
    offset: int = Field(0, ge=0, le=LARGEST_NUMBER)
    limit: int = Field(65536, ge=1)


class _Requests(_Request):
    before: int = Field(0, ge=0, le=LARGEST_NUMBER)
    limit: int = Field(100, ge=1, le=1000)


class _History(_Model):
    since: _Time | None = None
    until: _Time | None = None
    script: _Part = ""
    state: _StateName | None = None
    user: _Part = ""
    text: _Part = ""
    before: int = Field(0, ge=0, le=LARGEST_NUMBER)
    limit: int = Field(100, ge=1, le=1000)
    run_id: str = Field("", max_length=_LONGEST_RUN_ID)


_R = TypeVar("_R", bound=_Model)


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
    request = _parse(_Prepare, text, _bare_script)
    return _prepare_command(request), request.user


def parse_run(text: str) -> tuple[RunRequest, str | None]:
    """Parse the argument of Run: JSON, or a bare script URI; raises as `parse_prepare`."""
    request = _parse(_Run, text, _bare_script)
    return RunRequest(_prepare_command(request), request.fn_name, request.run_args.input()), request.user


def parse_check(text: str) -> tuple[CheckCommand, str | None]:
    """Parse the argument of Check: JSON, or a bare script URI; raises as `parse_prepare`."""
    request = _parse(_Check, text, _bare_script)
    prepare = _prepare_command(request)
    run_args = request.run_args.input() if request.run_args is not None else None
    return CheckCommand(prepare.script, prepare.init_args, request.fn_name, run_args), request.user


def parse_start(text: str) -> tuple[StartProcessCommand, str | None]:
    """Parse the argument of Start: JSON, a bare procedure id, or nothing at all; raises as `parse_prepare`."""
    request = _parse(_Start, text, _bare_id_or_nothing)
    command = StartProcessCommand(request.process_uid, request.fn_name, request.run_args.input(), request.force_start)
    return command, request.user


def parse_stop(text: str) -> tuple[StopProcessCommand, str | None]:
    """Parse the argument of Stop: JSON, a bare procedure id, or nothing at all; raises as `parse_prepare`."""
    request = _parse(_Stop, text, _bare_id_or_nothing)
    return StopProcessCommand(request.process_uid, request.run_abort, request.reason), request.user


def parse_output(text: str) -> tuple[OutputRequest, str | None]:
    """Parse the argument of Output: JSON, or a bare procedure id; raises as `parse_prepare`."""
    request = _parse(_Output, text, _bare_id)
    return OutputRequest(request.process_uid, request.offset, request.limit), request.user


def parse_requests(text: str) -> tuple[RequestsRequest, str | None]:
    """Parse the argument of Requests: JSON, or nothing at all for the newest; raises as `parse_prepare`."""
    request = _parse(_Requests, text.strip() or "{}", _nothing_bare)
    return RequestsRequest(request.before, request.limit), request.user


def parse_history(text: str) -> tuple[HistoryQuery, str | None]:
    """Parse the argument of History: JSON, or nothing at all for the newest; raises as `parse_prepare`.

    Its user is whom it looks for, and not who asks.
    """
    request = _parse(_History, text.strip() or "{}", _nothing_bare)
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


def _prepare_command(request: _Prepare) -> PrepareProcessCommand:
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
