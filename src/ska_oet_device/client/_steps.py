"""What a step of a client is, and the steps of whatever asks the device once.

A generator yields a step, and is sent what came of it, or has thrown into it what went wrong: so both clients take the
same steps, and how one waits is for each of them to know.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from ._answers import Environment, Health, Progress, Request, Summary
from ._errors import TooLarge, UnknownProcedure, UnreachableError
from ._items import Reconnected
from ._json import to_json
from ._requests import script_name

PROGRESS = ("activeProcedureId", "activeProgress", "activeActivity")
_HEALTH = ("OK", "DEGRADED", "FAILED", "UNKNOWN")
_READINGS = 10  # of what a script reports, until two of them agree
_ROWS = 100  # of the history or the audit, a call


@dataclass(frozen=True)
class Ask:
    """Call a command; sent is what its JSON says; `patient` as for `Connection.call`."""

    command: str
    argument: Any = None
    patient: bool = True


@dataclass(frozen=True)
class Read:
    """Read attributes; sent are their values, None for one that is INVALID; `timed`: each with its time."""

    attributes: tuple[str, ...]
    timed: bool = False
    patient: bool = True


@dataclass(frozen=True)
class Next:
    """Wait for what the device pushes next; sent is the item, or thrown TimeoutError."""


@dataclass(frozen=True)
class Doubt:
    """The device was not reached: have the feed find out, which then tells Reconnected."""


@dataclass(frozen=True)
class Give:
    """Hand a value to whoever iterates."""

    value: Any


T = TypeVar("T")
Step = Ask | Read | Next | Doubt | Give
Steps = Generator[Step, Any, T]


@dataclass(frozen=True)
class Which:
    """A procedure; the run id tells it from another one with the same number, should a history be lost."""

    uid: int
    run_id: str
    script: str


def insist(step: Ask | Read) -> Steps[Any]:
    """Ask, and while the device cannot be reached wait until it can."""
    step = dataclasses.replace(step, patient=False)  # the feed tries again
    while True:
        try:
            return (yield step)
        except UnreachableError:
            yield Doubt()
        while not isinstance((yield Next()), Reconnected):
            pass


def summary(which: Which, *, insists: bool = False, patient: bool = True) -> Steps[Summary]:
    """Return what is known of a procedure.

    :param insists: whether to wait for a device that cannot be reached
    :raises UnknownProcedure: the device does not know it any more
    """
    ask = Ask("Summarise", [which.uid], patient)
    (data,) = (yield from insist(ask)) if insists else (yield ask)
    found = Summary.of(data)
    if found.run_id != which.run_id:
        raise UnknownProcedure(
            f"the device has lost its history: procedure {which.uid} is now run {found.run_id} of {found.script}, and "
            f"not run {which.run_id} of {which.script}",
            "OET_UnknownProcedure",
        )
    return found


def by_id(which: int | str) -> Steps[Summary]:
    """Return what is known of a procedure, by its id or its run id; raises UnknownProcedure."""
    if isinstance(which, int):
        return Summary.of((yield Ask("Summarise", [which]))[0])
    found = yield Ask("History", to_json({"run_id": which}))
    if not found:
        raise UnknownProcedure(f"there is no procedure with the run id {which!r}", "OET_UnknownProcedure")
    return Summary.of(found[0])


def active() -> Steps[Summary | None]:
    """Return what is known of the active procedure."""
    (uid,) = yield Read(("activeProcedureId",))
    return (yield from by_id(int(uid))) if uid else None


def progress(which: Which) -> Steps[Progress]:
    """Return what a script reports of itself now."""
    active, percent, activity = (value for value, _ in (yield from reported()))
    return Progress(percent, activity or "") if active == which.uid else Progress(None, "")


def reported(*, patient: bool = True) -> Steps[list[tuple[Any, float]]]:
    """Return what stands in the attributes of `PROGRESS`, with the times at which they were read.

    The device reads them one after the other, and a report may come in between: they belong together where they are
    found alike twice.  Where reports come too fast for that the last reading is as good as any.
    """
    read: list[tuple[Any, float]] = yield Read(PROGRESS, timed=True, patient=patient)
    for _ in range(_READINGS):
        before = read
        read = yield Read(PROGRESS, timed=True, patient=patient)
        if [value for value, _ in before] == [value for value, _ in read]:
            break
    return read


def summaries(command: str, argument: Any) -> Steps[list[Summary]]:
    """Return the procedures that a command answers."""
    return [Summary.of(data) for data in (yield Ask(command, argument))]


def history(asked: dict[str, Any], limit: int | None) -> Steps[None]:
    """Give summaries from the history, newest first, asking for more as they are taken."""
    return _paged("History", asked, "id", limit, Summary.of)


def audit(limit: int | None) -> Steps[None]:
    """Give the entries of the audit, newest first, asking for more as they are taken."""
    return _paged("Requests", {}, "number", limit, lambda data: Request(**data))


def _paged(command: str, asked: dict[str, Any], key: str, limit: int | None, make: Any) -> Steps[None]:
    before, left = 0, limit
    while left is None or left > 0:
        length = _ROWS if left is None else min(left, _ROWS)
        try:
            page = yield Ask(command, to_json({**asked, "before": before, "limit": length}))
        except TooLarge as refusal:
            before = _goes_on_with(refusal)
            continue
        for data in page:
            yield Give(make(data))
        if not page:
            return
        before = page[-1][key]
        left = None if left is None else left - len(page)


def _goes_on_with(refusal: TooLarge) -> int:
    """Return where to go on, if nothing was found in that part of a long history that one call looks through."""
    found = re.search(r'go on with "before": (\d+)', str(refusal))
    if found is None:
        raise refusal
    return int(found[1])


def environments() -> Steps[list[Environment]]:
    """Return the environments."""
    return [Environment.of(data) for data in (yield Ask("Environments"))]


def available_scripts() -> Steps[list[str]]:
    """Return the names of the scripts that the device lists."""
    (uris,) = yield Read(("availableScripts",))
    return [script_name(uri) for uri in uris or ()]


def health() -> Steps[Health]:
    """Return how the device is."""
    health, state, status = yield Read(("healthState", "State", "Status"))
    return Health(_HEALTH[health], str(state), status)
