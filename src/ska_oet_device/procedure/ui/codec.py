"""JSON in and JSON out: the only place where requests are parsed and answers written.

All JSON is ASCII, because a Tango DevString is Latin-1.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, Union

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator

from ...config import LARGEST_ARGUMENT
from ...errors import InvalidArgumentError, TooLargeError
from ..application import (
    ArgCapture,
    PrepareProcessCommand,
    ProcedureSummary,
    RequestRecord,
    StartProcessCommand,
    StopProcessCommand,
)
from ..gitmanager import GitArgs
from ..history import LifecycleEvent, StoredRequest
from ..output import Page
from ..script import ExecutableScript, FileSystemScript, GitScript, ProcedureInput
from ..state import ProcedureState
from ._problems import explain, shorten

_LARGEST_NUMBER = 2**63 - 1
_DEEPEST = 100
_MOST_BITS = 10_000  # Python writes no integer of more than 4,300 digits


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


# A database keeps it in 64 bits.
_Uid = Annotated[int, Field(ge=-_LARGEST_NUMBER, le=_LARGEST_NUMBER)]


class _Input(_Model):
    args: list[JsonValue] = []
    kwargs: dict[str, JsonValue] = {}

    @field_validator("args", "kwargs")
    @classmethod
    def _finite(cls, value: Any) -> Any:
        if not _is_finite(value):
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
    user: str | None = None


class _Prepare(_Request):
    script: _Script
    init_args: _Input = _Input()


class _Run(_Prepare):
    fn_name: str = Field("main", min_length=1)
    run_args: _Input = _Input()


class _Start(_Request):
    process_uid: _Uid
    fn_name: str = Field("main", min_length=1)
    run_args: _Input = _Input()
    force_start: bool = False


class _Stop(_Request):
    process_uid: _Uid
    run_abort: bool | None = None


class _Output(_Request):
    process_uid: _Uid
    offset: int = Field(0, ge=0, le=_LARGEST_NUMBER)
    limit: int = Field(65536, ge=1)


class _Requests(_Request):
    before: int = Field(0, ge=0, le=_LARGEST_NUMBER)
    limit: int = Field(100, ge=1, le=1000)


_R = TypeVar("_R", bound=_Request)


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


# -- requests; each parser returns the command and the user who is said to ask


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


def parse_start(text: str) -> tuple[StartProcessCommand, str | None]:
    """Parse the argument of Start: JSON, or a bare procedure id; raises as `parse_prepare`."""
    request = _parse(_Start, text, _bare_id)
    command = StartProcessCommand(request.process_uid, request.fn_name, request.run_args.input(), request.force_start)
    return command, request.user


def parse_stop(text: str) -> tuple[StopProcessCommand, str | None]:
    """Parse the argument of Stop: JSON, or a bare procedure id; raises as `parse_prepare`."""
    request = _parse(_Stop, text, _bare_id)
    return StopProcessCommand(request.process_uid, request.run_abort), request.user


def parse_output(text: str) -> OutputRequest:
    """Parse the argument of Output: JSON, or a bare procedure id; raises as `parse_prepare`."""
    request = _parse(_Output, text, _bare_id)
    return OutputRequest(request.process_uid, request.offset, request.limit)


def parse_requests(text: str) -> RequestsRequest:
    """Parse the argument of Requests: JSON, or nothing at all for the newest; raises as `parse_prepare`."""
    request = _parse(_Requests, text.strip() or "{}", _nothing_bare)
    return RequestsRequest(request.before, request.limit)


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
    stripped = text.strip()
    try:
        if stripped.startswith("{"):
            return model.model_validate_json(stripped)
        return model.model_validate(bare(stripped))
    except ValidationError as error:
        raise InvalidArgumentError(explain(error, model)) from None


def _bare_script(text: str) -> dict[str, Any]:
    script_of_uri(text)
    return {"script": {"script_type": "filesystem", "script_uri": text}}


def _bare_id(text: str) -> dict[str, Any]:
    # isdigit alone would let other alphabets' digits and thousands of them through.
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise InvalidArgumentError(f"{shorten(text)!r} is neither a JSON object nor a procedure id")
    return {"process_uid": int(text)}


def _nothing_bare(text: str) -> dict[str, Any]:
    raise InvalidArgumentError(f"{shorten(text)!r} is no JSON object")


def _is_finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list):
        return all(map(_is_finite, value))
    return True


# -- answers


def to_json(value: Any) -> str:
    """Return `value` as ASCII JSON; what JSON does not know becomes text."""
    try:
        return json.dumps(value, default=repr, allow_nan=False)
    except (ValueError, TypeError, RecursionError):  # NaN, keys that are no text, circles: a script may send anything
        return json.dumps(_jsonable(value, ()), default=_shown)


def _jsonable(value: Any, around: tuple[int, ...]) -> Any:
    """Return what JSON can say of `value`; `around` are the ids of the containers that it lies in."""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        return hex(value)
    if isinstance(value, (dict, list, tuple)):
        if id(value) in around or len(around) >= _DEEPEST:
            return "…"
        around = (*around, id(value))
    if isinstance(value, dict):
        return {key if isinstance(key, str) else _shown(key): _jsonable(item, around) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item, around) for item in value]
    return value


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits in it, or too deep
        return f"<{type(value).__name__}>"


def summary_data(summary: ProcedureSummary, *, stacktrace: bool = True) -> dict[str, Any]:
    """Return a ProcedureSummary as the contract writes it."""
    history: dict[str, Any] = {
        "process_states": [state_data(item) for item in summary.history.process_states],
        "stacktrace": summary.history.stacktrace,
        "exit": summary.history.exit,
        "dropped_starts": [{"time": time, "reason": reason} for time, reason in summary.history.dropped_starts],
    }
    if not stacktrace:
        del history["stacktrace"]
    return {
        "id": summary.id,
        "uri": summary.uri,
        "run_id": summary.run_id,
        "script": summary.script.as_data(),
        "provenance": summary.provenance,
        "script_args": [capture_data(capture) for capture in summary.script_args],
        "history": history,
        "requested_by": [request_record_data(request) for request in summary.requested_by],
        "os_pid": summary.os_pid,
        "state": summary.state.name,
    }


def state_data(entered: tuple[ProcedureState, float]) -> list[Any]:
    """Return a state and when it was entered as a summary's history tells them."""
    return [entered[0].name, entered[1]]


def request_record_data(request: RequestRecord) -> dict[str, Any]:
    """Return who asked for what as a summary tells it."""
    return {"command": request.command, "client": request.client, "user": request.user, "time": request.time}


def capture_data(capture: ArgCapture) -> dict[str, Any]:
    """Return a call's arguments as a summary tells them."""
    return {"fn": capture.fn, "fn_args": capture.fn_args.as_data(), "time": capture.time}


def request_data(request: StoredRequest) -> dict[str, Any]:
    """Return a request as the command Requests shows it."""
    return {
        "number": request.number,
        "time": request.time,
        "command": request.command,
        "client": request.client,
        "user": request.user,
        "process_uid": request.process_uid,
        "answer": request.answer,
    }


def page_data(page: Page) -> dict[str, Any]:
    """Return a page of output as the contract writes it."""
    return {
        "text": page.text,
        "offset": page.offset,
        "next_offset": page.next_offset,
        "complete": page.complete,
    }


def event_data(event: LifecycleEvent) -> dict[str, Any]:
    """Return a lifecycle event as the contract writes it."""
    return {
        "sequence": event.sequence,
        "process_uid": event.process_uid,
        "run_id": event.run_id,
        "previous": event.previous.name if event.previous is not None else None,
        "state": event.state.name,
        "time": event.time,
        "reason": event.reason,
    }


def latin1(text: str) -> str:
    """Return `text` as a DevString can carry it: other characters escaped, and no NUL, which would end it."""
    if not text.isascii():
        text = text.encode("latin-1", "backslashreplace").decode("latin-1")
    return text.replace("\0", "\\x00")
