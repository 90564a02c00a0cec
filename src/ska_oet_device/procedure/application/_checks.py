"""The checks of one device: which are under way, and the reports of the newest.

They are no procedures: nothing of those changes by them, nor of what the history keeps but for the requests.
"""

from __future__ import annotations

import threading
import time as clock
from collections.abc import Callable
from dataclasses import dataclass

from ...config import Settings
from ...errors import InvalidArgumentError, OetError, TooManyError, UnknownCheckError
from ...event import Bus, topics
from ..domain import check_of, load_of, new_run_id
from ..messages import CHECK_STEPS, CheckDone
from ..script import ExecutableScript, GitScript
from ._model import ArgCapture, CheckCommand, CheckReport, CheckStep, ScriptContext

MOST_WAITING = 1000
"""Checks of a device that are under way, most of which wait for their turn."""

MOST_KEPT = 1000
"""Reports of a device that are kept."""

_MOST_WAITING_BYTES = 64 * 1024 * 1024  # of arguments: main holds them as well


@dataclass(frozen=True)
class _UnderWay:
    """A check that is asked for: the run id that its processes carry, and the size of its arguments in bytes."""

    run_id: str
    path: str
    size: int


class Checks:
    """Asks main for checks, and keeps what comes of them.  Any thread; `_on_done` is called by the link's.

    Ids count up by one.  They begin at the milliseconds since the machine was started, so that a device server that is
    started anew goes on with higher ones: no id of an earlier one becomes another check's.
    """

    def __init__(
        self, bus: Bus, device: str, settings: Callable[[], Settings], find: Callable[[ExecutableScript], str]
    ) -> None:
        """Begin without any.

        :param find: returns the path of a script on the file system, or "" for one in git, and raises as it refuses
        """
        self._bus = bus
        self._device = device
        self._settings = settings
        self._find = find
        self._lock = threading.Lock()
        self._first = self._last = clock.clock_gettime_ns(clock.CLOCK_BOOTTIME) // 1_000_000
        self._under_way: dict[int, _UnderWay] = {}
        self._reports: dict[int, CheckReport] = {}
        bus.subscribe(self._on_done, topics.procedure.check.done)

    def check(self, cmd: CheckCommand, context: ScriptContext) -> int:
        """Have a script checked; returns the id of the check.

        What is wrong with the script is told by the report, also that there is none.

        :raises InvalidArgumentError: no repository, branch, commit or path in one can be called so
        :raises TooManyError: too many are waiting
        """
        try:
            path, problem = self._find(cmd.script), ""
        except OetError as error:
            if isinstance(error, InvalidArgumentError) and isinstance(cmd.script, GitScript):
                raise  # nothing has been looked for: it is no form that these can have
            path, problem = "", str(error)
        run_args = cmd.run_args
        size = sum(ArgCapture("", each, 0.0).size for each in (cmd.init_args, run_args) if each is not None)
        with self._lock:
            self._check_room(size)
            self._last += 1
            check_id, run_id = self._last, new_run_id()
            self._under_way[check_id] = _UnderWay(run_id, path, size)
        if problem:
            self._complete(CheckDone(self._device, check_id, _not_found(problem), None, {}, None))
            return check_id
        load = load_of(
            0, cmd.script, cmd.init_args, self._settings(), path=path, run_id=run_id, context=context.as_data()
        )
        self._bus.publish(topics.procedure.check.create, check=check_of(load, check_id, cmd.fn_name, run_args))
        return check_id

    def report(self, check_id: int) -> CheckReport | None:
        """Return the report of a check; None while it is under way.

        :raises UnknownCheckError: there is no such check, or its report is not kept any more
        """
        with self._lock:
            if check_id in self._under_way:
                return None
            found = self._reports.get(check_id)
        if found is None:
            raise UnknownCheckError(self._why_unknown(check_id))
        return found

    @property
    def run_ids(self) -> list[str]:
        """What the processes of the checks carry that are under way."""
        with self._lock:
            return [each.run_id for each in self._under_way.values()]

    def _check_room(self, size: int) -> None:
        if len(self._under_way) >= MOST_WAITING:
            raise TooManyError(f"{len(self._under_way)} checks are under way; {MOST_WAITING} are allowed")
        waiting = sum(each.size for each in self._under_way.values())
        if waiting + size > _MOST_WAITING_BYTES:
            raise TooManyError(f"checks with {waiting} bytes of arguments are waiting already")

    def _why_unknown(self, check_id: int) -> str:
        where = self._device or "this device"
        if self._first < check_id <= self._last:
            return f"the report of check {check_id} on {where} is not kept any more: the newest {MOST_KEPT} are"
        if 0 < check_id <= self._first:
            return f"there is no check {check_id} on {where}: if there was one, an earlier device server took it along"
        return f"there is no check {check_id} on {where}"

    def _on_done(self, message: CheckDone) -> None:
        self._complete(message)

    def _complete(self, done: CheckDone) -> None:
        steps = tuple(CheckStep(name, **done.steps.get(name, {})) for name in CHECK_STEPS)
        with self._lock:
            asked = self._under_way.pop(done.check_id, None)
            if asked is None:
                return
            unread = {"path": asked.path or None, "sha256": None, "git_commit": None, "environment": None}
            provenance = done.provenance or unread
            report = CheckReport(done.check_id, steps, done.docstring, done.functions, provenance, clock.time())
            self._reports[done.check_id] = report
            while len(self._reports) > MOST_KEPT:
                del self._reports[next(iter(self._reports))]
        self._bus.publish(topics.procedure.check.reported, report=report)


def _not_found(reason: str) -> dict[str, dict[str, object]]:
    return {"found": {"ok": False, "reason": reason, "time": clock.time()}}
