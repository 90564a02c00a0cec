"""The attributes that other devices of the SKA expect of one: rows of the table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tango

from ..application import MOST_FINISHED, MOST_UNFINISHED, AdminMode, LongRunningCommands
from . import _lrc_texts as texts
from ._attribute import Attribute, Occasion
from ._devstring import cut, latin1
from ._tango_logs import LoggingLevel

PROTOCOL_VERSIONS = (1, 2)
"""The oldest and the newest protocol of long running commands that is spoken here."""

_UNFINISHED = MOST_UNFINISHED + 1  # an Abort is never refused
_OF_PROTOCOL_1 = MOST_FINISHED + _UNFINISHED
_MOST_REASONS, _LONGEST_REASON = 64, 512


def _of_commands(
    name: str, most: int, doc: str, source: Callable[[LongRunningCommands], Any], value: Callable[[Any], Any] = list
) -> Attribute:
    """Return an attribute that tells of all long running commands in texts."""
    declared = {"max_dim_x": most}
    return Attribute(name, (str,), doc, Occasion.COMMANDS, lambda view: source(view.commands), value, declared=declared)


SKA_ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute(
        "adminMode",
        AdminMode,
        "Whether this device is in use: ONLINE and ENGINEERING let scripts be prepared and started",
        Occasion.REFRESH,
        lambda view: view.admin_mode,
        int,
        memorised=True,
        declared={"access": tango.AttrWriteType.READ_WRITE},
    ),
    Attribute(
        "healthInfo",
        (str,),
        "Why healthState is what it is; empty if all is well",
        Occasion.REFRESH,
        lambda view: view.health_reasons,
        lambda reasons: [cut(latin1(reason), _LONGEST_REASON) for reason in reasons[:_MOST_REASONS]],
        declared={"max_dim_x": _MOST_REASONS},
    ),
    Attribute(
        "loggingLevel",
        LoggingLevel,
        "What is written to the log: this and what is worse",
        Occasion.REFRESH,
        lambda view: view.logging_level,
        int,
        declared={"access": tango.AttrWriteType.READ_WRITE},
    ),
    Attribute(
        "lrcProtocolVersions",
        (np.int64,),
        "The oldest and the newest protocol of long running commands that is spoken here",
        Occasion.NEVER,
        lambda view: PROTOCOL_VERSIONS,
        list,
        declared={"max_dim_x": 2},
    ),
    Attribute(
        "_lrcEvent",
        (str,),
        "Uid of a long running command, and JSON of what is new of it; empty when it is read",
        Occasion.COMMAND,
        lambda view: view.command_event,
        list,
        declared={"max_dim_x": 2},
    ),
    # Clients of protocol 1 unsubscribe when the status is a last one: the result comes before it.
    Attribute(
        "longRunningCommandResult",
        (str,),
        "Uid and result (code and text) of the long running command that has finished last",
        Occasion.COMMANDS,
        lambda view: texts.newest_result(view.commands),
        list,
        declared={"max_dim_x": 2},
    ),
    _of_commands(
        "longRunningCommandProgress",
        2 * _UNFINISHED,
        "Uid and percentage of each long running command that is under way and has told it",
        lambda commands: texts.progresses(commands.executing),
    ),
    _of_commands(
        "longRunningCommandStatus",
        2 * _OF_PROTOCOL_1,
        "Uid and status of each long running command, those that have finished within 10 s among them",
        lambda commands: texts.statuses(commands.of_protocol_1),
    ),
    _of_commands(
        "longRunningCommandInProgress",
        _UNFINISHED,
        "Names of the long running commands that are under way",
        lambda commands: texts.names(commands.executing),
    ),
    _of_commands(
        "longRunningCommandsInQueue",
        _OF_PROTOCOL_1,
        "Names of the long running commands, in the order of longRunningCommandIDsInQueue",
        lambda commands: texts.names(commands.of_protocol_1),
    ),
    _of_commands(
        "longRunningCommandIDsInQueue",
        _OF_PROTOCOL_1,
        "Uids of the long running commands, those that have finished within 10 s among them",
        lambda commands: texts.uids(commands.of_protocol_1),
    ),
    _of_commands(
        "lrcQueue",
        _UNFINISHED,
        "JSON of each long running command that waits, oldest first",
        lambda commands: commands.queue,
        texts.written,
    ),
    _of_commands(
        "lrcExecuting",
        _UNFINISHED,
        "JSON of each long running command that is under way, oldest first",
        lambda commands: commands.executing,
        texts.written,
    ),
    _of_commands(
        "lrcFinished",
        MOST_FINISHED,
        "JSON of each of the last long running commands that have finished, newest last",
        lambda commands: commands.finished,
        texts.newest_written,
    ),
)
"""In the order in which they are pushed."""
