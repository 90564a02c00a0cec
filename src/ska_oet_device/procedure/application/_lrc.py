"""Long running commands as the SKA's devices know them: what clients see of each, and of all.  Plain frozen data."""

from __future__ import annotations

import enum
import functools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

MOST_UNFINISHED = 256
"""Long running commands that have not finished; one more is refused, unless it is an Abort, of which there is one."""

MOST_FINISHED = 100
"""Finished ones that clients are told of."""

SHOWN_FOR = 10.0
"""Seconds for which protocol 1 shows what has finished."""

RUN, PREPARE, START, ABORT = "RunScript", "PrepareScript", "StartScript", "Abort"
NAMES = (RUN, PREPARE, START, ABORT)


class TaskStatus(enum.IntEnum):
    """The SKA's TaskStatus."""

    STAGING = 0
    QUEUED = 1
    IN_PROGRESS = 2
    ABORTED = 3
    NOT_FOUND = 4
    COMPLETED = 5
    REJECTED = 6
    FAILED = 7


class ResultCode(enum.IntEnum):
    """The SKA's ResultCode."""

    OK = 0
    STARTED = 1
    QUEUED = 2
    FAILED = 3
    UNKNOWN = 4
    REJECTED = 5
    NOT_ALLOWED = 6
    ABORTED = 7


@dataclass(frozen=True)
class LongRunningCommand:
    """One long running command at one moment; times in Unix seconds.

    :ivar process_uid: the procedure that does it; 0 of an Abort, which may concern several
    :ivar progress: per cent, as its script has reported
    :ivar result: once it has finished
    """

    name: str
    process_uid: int
    submitted: float
    status: TaskStatus = TaskStatus.QUEUED
    started: float | None = None
    finished: float | None = None
    progress: int | None = None
    result: tuple[ResultCode, str] | None = None

    @functools.cached_property
    def uid(self) -> str:
        """Its unique id: made of what the history keeps, so that it is the same after a restart."""
        return f"{self.submitted!r}_{self.process_uid}_{self.name}"


@dataclass(frozen=True)
class LongRunningCommands:
    """All that clients are told of at one moment.

    :ivar taken_up: those of earlier servers, as they were found: no update tells of them
    :ivar unfinished: in the order in which they were asked for
    :ivar finished: the newest, in the order in which they have finished
    :ivar recent: those of the finished that protocol 1 still shows, with the monotonic times of their ends
    """

    taken_up: tuple[LongRunningCommand, ...] = ()
    unfinished: tuple[LongRunningCommand, ...] = ()
    finished: tuple[LongRunningCommand, ...] = ()
    recent: tuple[tuple[float, LongRunningCommand], ...] = ()

    @property
    def queue(self) -> list[LongRunningCommand]:
        """Those that wait."""
        return [each for each in self.unfinished if each.status is not TaskStatus.IN_PROGRESS]

    @property
    def executing(self) -> list[LongRunningCommand]:
        """Those that are under way."""
        return [each for each in self.unfinished if each.status is TaskStatus.IN_PROGRESS]

    @property
    def of_protocol_1(self) -> list[LongRunningCommand]:
        """Those that have finished a moment ago, that wait, or are under way."""
        return [*(each for _, each in self.recent), *self.unfinished]

    def after(self, update: CommandUpdate, now: float) -> LongRunningCommands:
        """Return the same with what is new of one command.

        :param now: the monotonic time
        """
        command = update.command
        others = tuple(each for each in self.unfinished if each.uid != command.uid)
        if update.is_last:
            return replace(self, unfinished=others).with_finished(command, now)
        if len(others) == len(self.unfinished):
            return replace(self, unfinished=(*others, command))
        known = (command if each.uid == command.uid else each for each in self.unfinished)
        return replace(self, unfinished=tuple(known))

    def with_finished(self, command: LongRunningCommand, now: float) -> LongRunningCommands:
        """Return the same with one more that has finished at a monotonic time."""
        return replace(
            self,
            finished=(*self.finished, command)[-MOST_FINISHED:],
            recent=(*self.without_old(now).recent, (now, command))[-MOST_FINISHED:],
        )

    def without_old(self, now: float) -> LongRunningCommands:
        """Return the same without what protocol 1 shows no more at a monotonic time."""
        if not self.recent or self.recent[0][0] + SHOWN_FOR > now:
            return self
        return replace(self, recent=tuple(each for each in self.recent if each[0] + SHOWN_FOR > now))

    def with_taken_up(self, found: tuple[LongRunningCommand, ...]) -> LongRunningCommands:
        """Return the same with all commands of earlier servers as they were found; of what is known nothing changes."""
        known = {each.uid for each in (*self.unfinished, *self.finished)}
        new = [each for each in found if each.uid not in known]
        unfinished = [*self.unfinished, *(each for each in new if each.result is None)]
        finished = [*self.finished, *(each for each in new if each.result is not None)]
        return replace(
            self,
            taken_up=found,
            unfinished=tuple(sorted(unfinished, key=lambda each: each.submitted)),
            finished=tuple(sorted(finished, key=lambda each: each.finished or 0.0)[-MOST_FINISHED:]),
        )

    def with_progress(self, process_uid: int, percent: int) -> tuple[LongRunningCommands, str]:
        """Return the same with what a procedure has reported, and the uid of the command that it is new of, or ""."""
        found = next((each for each in self.executing if each.process_uid == process_uid), None)
        if found is None or found.progress == percent:
            return self, ""
        newer = replace(found, progress=percent)
        return replace(self, unfinished=_exchanged(self.unfinished, found, newer)), found.uid


def _exchanged(
    commands: Iterable[LongRunningCommand], one: LongRunningCommand, other: LongRunningCommand
) -> tuple[LongRunningCommand, ...]:
    return tuple(other if each is one else each for each in commands)


@dataclass(frozen=True)
class CommandUpdate:
    """What is new of one command.

    :ivar data: any of status, progress and result, as protocol 2 tells it
    :ivar command: how the command stands right after it
    """

    data: dict[str, Any]
    command: LongRunningCommand

    @property
    def uid(self) -> str:
        return self.command.uid

    @property
    def is_last(self) -> bool:
        """Whether the command has finished."""
        return self.command.result is not None
