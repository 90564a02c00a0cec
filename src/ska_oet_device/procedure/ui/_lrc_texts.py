"""Long running commands as the SKA's devices write them: uids, names of statuses, and JSON."""

from __future__ import annotations

import datetime
import functools
from typing import Any, cast

from ..application import MOST_FINISHED, MOST_UNFINISHED, LongRunningCommand, LongRunningCommands
from . import _shapes as shapes
from ._devstring import to_json

_ROOM = 64 * 1024  # characters of one event; a client that does not read has a thousand of them wait


def command_data(command: LongRunningCommand) -> shapes.LongRunning:
    """Return a command as lrcQueue, lrcExecuting and lrcFinished tell it: what there is of it."""
    data: dict[str, Any] = {
        "uid": command.uid,
        "name": command.name,
        "submitted_time": _iso(command.submitted),
        "started_time": _iso(command.started),
        "finished_time": _iso(command.finished),
        "progress": command.progress,
        "status": command.status.name if command.result is not None else None,
        "result": list(command.result) if command.result is not None else None,
    }
    return cast(shapes.LongRunning, {key: value for key, value in data.items() if value is not None})


def _iso(time: float | None) -> str | None:
    """Return a Unix time in ISO 8601, always with microseconds and the offset of UTC."""
    if time is None:
        return None
    return datetime.datetime.fromtimestamp(time, datetime.timezone.utc).isoformat(timespec="microseconds")


@functools.lru_cache(maxsize=MOST_UNFINISHED + MOST_FINISHED)
def _text(command: LongRunningCommand) -> str:
    """Return the JSON text of a command, which is told again with each change of another one."""
    return to_json(command_data(command))


def written(commands: list[LongRunningCommand]) -> list[str]:
    """Return a JSON text of each command."""
    return [_text(command) for command in commands]


def newest_written(commands: tuple[LongRunningCommand, ...]) -> list[str]:
    """Return a JSON text of each command, oldest first; of the newest of them if one event has no room for all.

    The reasons of failures are as long as a hundred of them may be, unless nearly every character is escaped.
    """
    texts: list[str] = []
    room = _ROOM
    for command in reversed(commands):
        text = _text(command)
        room -= len(text)
        if room < 0:
            break
        texts.append(text)
    return texts[::-1]


def names(commands: list[LongRunningCommand]) -> list[str]:
    return [command.name for command in commands]


def uids(commands: list[LongRunningCommand]) -> list[str]:
    return [command.uid for command in commands]


def statuses(commands: list[LongRunningCommand]) -> list[str]:
    """Return uid and name of the status of each, one behind the other."""
    return [text for command in commands for text in (command.uid, command.status.name)]


def progresses(commands: list[LongRunningCommand]) -> list[str]:
    """Return uid and percentage of each that has told one, one behind the other."""
    told = (command for command in commands if command.progress is not None)
    return [text for command in told for text in (command.uid, str(command.progress))]


def newest_result(commands: LongRunningCommands) -> tuple[str, str]:
    """Return uid and result, as JSON, of what has finished last; two empty texts before that."""
    if not commands.finished:
        return "", ""
    newest = commands.finished[-1]
    return newest.uid, to_json(list(newest.result or ()))
