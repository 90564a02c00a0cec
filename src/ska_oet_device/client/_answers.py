"""What the device tells, as typed objects: summaries, lifecycle events, requests, pages of output, progress."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class ProcedureState(str, enum.Enum):
    """The states of a procedure; each equals its name as a text."""

    CREATING = "CREATING"
    IDLE = "IDLE"
    PREP_ENV = "PREP_ENV"
    LOADING = "LOADING"
    INITIALISING = "INITIALISING"
    READY = "READY"
    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    STOPPED = "STOPPED"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"

    __str__ = str.__str__

    @property
    def is_terminal(self) -> bool:
        """Whether it is the end: COMPLETE, STOPPED, FAILED or UNKNOWN."""
        return self in _TERMINAL


_TERMINAL = frozenset([ProcedureState.COMPLETE, ProcedureState.STOPPED, ProcedureState.FAILED, ProcedureState.UNKNOWN])


@dataclass(frozen=True)
class RequestedBy:
    """Who has asked for what; `time` in Unix seconds."""

    command: str
    client: str
    user: str | None
    time: float


@dataclass(frozen=True)
class Call:
    """A call of a function of the script, with the arguments as far as they are kept; `time` in Unix seconds."""

    function: str
    args: list[Any]
    kwargs: dict[str, Any]
    time: float


_ALL_TOLD = 1000  # of longer lists the device tells the first entry and the newest


@dataclass(frozen=True)
class Summary:
    """What is known of a procedure, at one moment; `data` is the whole ProcedureSummary of the contract."""

    id: int
    run_id: str
    script: str
    state: ProcedureState
    states: list[tuple[ProcedureState, float]] = field(repr=False)
    reason: str | None
    result: Any = field(repr=False)
    stacktrace: str | None = field(repr=False)
    calls: list[Call] = field(repr=False)
    requested_by: list[RequestedBy] = field(repr=False)
    data: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Summary:
        """Return the summary that a ProcedureSummary of the contract tells."""
        history = data["history"]
        ended = history["exit"] or {}
        return cls(
            id=data["id"],
            run_id=data["run_id"],
            script=data["script"]["script_uri"],
            state=ProcedureState(data["state"]),
            states=[(ProcedureState(state), time) for state, time in history["process_states"]],
            reason=ended.get("reason"),
            result=ended.get("result"),
            stacktrace=history.get("stacktrace"),
            calls=[
                Call(item["fn"], item["fn_args"]["args"], item["fn_args"]["kwargs"], item["time"])
                for item in data["script_args"]
            ],
            requested_by=[RequestedBy(**item) for item in data["requested_by"]],
            data=data,
        )

    @property
    def created(self) -> float:
        """When it was asked for, in Unix seconds."""
        return self.states[0][1]

    @property
    def dropped_starts(self) -> list[str]:
        """Why starts of it came to nothing, oldest first."""
        return [item["reason"] for item in self.data["history"].get("dropped_starts", ())]

    @property
    def since(self) -> float:
        """When it entered its state, in Unix seconds."""
        return self.states[-1][1]

    @property
    def awaits_call(self) -> bool:
        """Whether a function has been asked for that has not been called yet."""
        if len(self.states) >= _ALL_TOLD:  # some are missing
            return self.since < self.calls[-1].time
        called = sum(state is ProcedureState.RUNNING for state, _ in self.states)
        return called + len(self.dropped_starts) < len(self.calls) - 1  # the first call is init's


@dataclass(frozen=True)
class LifecycleEvent:
    """A change of a procedure; `time` in Unix seconds.  READY after READY: a start was dropped, for `reason`."""

    sequence: int
    process_uid: int
    run_id: str
    previous: ProcedureState | None
    state: ProcedureState
    time: float
    reason: str | None

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> LifecycleEvent:
        """Return the event that a lifecycle event of the contract tells."""
        previous = data["previous"]
        return cls(
            data["sequence"],
            data["process_uid"],
            data["run_id"],
            ProcedureState(previous) if previous else None,
            ProcedureState(data["state"]),
            data["time"],
            data["reason"],
        )

    @property
    def is_dropped_start(self) -> bool:
        """Whether it tells of a start that came to nothing."""
        return self.previous is self.state is ProcedureState.READY


@dataclass(frozen=True)
class Request:
    """An entry of the audit; `time` in Unix seconds."""

    number: int
    time: float
    command: str
    client: str
    user: str | None
    process_uid: int
    answer: str


@dataclass(frozen=True)
class Progress:
    """What a script reports of itself: `percent` from 0 to 100, None if it reports nothing; and what it does."""

    percent: float | None
    activity: str


@dataclass(frozen=True)
class ProgressEvent:
    """What the active procedure reports of itself from now on; as `Progress`, with the id of the procedure."""

    process_uid: int
    percent: float | None
    activity: str


@dataclass(frozen=True)
class CheckStep:
    """A step of a check: found, compiles, environment, imports, functions or arguments.

    `ok` is None where it was not reached, or nothing of the kind was asked for; `time` in Unix seconds.
    """

    step: str
    ok: bool | None
    reason: str | None
    time: float | None


@dataclass(frozen=True)
class CheckedFunction:
    """A function of a script; `parameters` is the JSON Schema of its arguments by name."""

    signature: str
    docstring: str | None
    parameters: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class CheckReport:
    """What a check has found; `data` is the whole report of the contract."""

    check_id: int
    ok: bool
    steps: list[CheckStep]
    docstring: str | None
    functions: dict[str, CheckedFunction]
    provenance: Mapping[str, Any] = field(repr=False)
    data: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> CheckReport:
        """Return what a complete report of the contract tells."""
        functions = {
            name: CheckedFunction(function["signature"], function["docstring"], function["parameters"])
            for name, function in data["functions"].items()
        }
        steps = [CheckStep(item["step"], item["ok"], item["reason"], item["time"]) for item in data["steps"]]
        return cls(data["check_id"], data["ok"], steps, data["docstring"], functions, data["provenance"] or {}, data)

    @property
    def reason(self) -> str | None:
        """Why it is not ok, of the first step that is not; None if it is."""
        return next((step.reason for step in self.steps if step.ok is False), None)


@dataclass(frozen=True)
class Environment:
    """An environment that scripts run in; times in Unix seconds, `size` in bytes; `data` is all that is told of it."""

    env_id: str
    state: str
    size: int
    created: float | None
    last_used: float | None
    in_use: bool
    description: str
    reason: str | None
    packages: Any = field(repr=False)
    data: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Environment:
        """Return what an entry of Environments tells."""
        names = cls.__dataclass_fields__.keys() - {"data"}
        return cls(**{name: data.get(name) for name in names}, data=data)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Health:
    """How a device is: its healthState (OK, DEGRADED, FAILED, UNKNOWN), its State, and Status, which says why."""

    health: str
    state: str
    status: str
