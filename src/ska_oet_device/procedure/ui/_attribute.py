"""What is said of an attribute of the device: how it is read from a view, and when it is pushed."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import tango

from ._view import View

_VALID, _INVALID = tango.AttrQuality.ATTR_VALID, tango.AttrQuality.ATTR_INVALID


class Occasion(enum.Enum):
    """What has happened when an attribute may have another value, and is to be pushed."""

    EVENT = "a lifecycle event; State and Status follow"
    CHANGE = "a lifecycle event; State and Status have been pushed"
    LISTS = "lifecycle events; whatever else was to be pushed has been, and some time has passed since the last ones"
    PROGRESS = "a report of progress, or another procedure is the active one"
    MESSAGE = "a message of a script"
    OUTPUT = "the active script has printed"
    CHECK = "a check is complete"
    COMMAND = "something is new of a long running command"
    COMMANDS = "the same; its own event has been pushed"
    REFRESH = "none of the others: a flag was set, or the health is another"
    NEVER = "it is what it is"


Reading = tuple[Any, float, tango.AttrQuality]
"""Value, time (Unix seconds) and quality of an attribute at one moment."""


def _itself(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Attribute:
    """One attribute.

    :param name: its name, in lowerCamelCase
    :param dtype: its type, as PyTango's `attribute` takes it
    :param doc: what it means, for tools
    :param pushed: when it is pushed
    :param source: reads from a view, at once, all that value and time are made of; None: there is no value.  The
        attribute is another one if its source is
    :param value: makes the value of its source
    :param time: makes the time of the value (Unix seconds) of its source, where that has one of its own
    :param empty: the value where there is none, of quality INVALID
    :param group: attributes that follow each other and are of one group are pushed together, if one of them has changed
    :param memorised: what is written to it is kept in the Tango database, and holds from the next start on
    :param declared: what else Tango is told
    """

    name: str
    dtype: Any
    doc: str
    pushed: Occasion
    source: Callable[[View], Any]
    value: Callable[[Any], Any] = _itself
    time: Callable[[Any], float] | None = None
    empty: Any = None
    group: str = ""
    memorised: bool = False
    declared: Mapping[str, Any] = field(default_factory=dict)

    def reading(self, source: Any, now: float) -> Reading:
        """Return value, time and quality of what was read from a view.  Any thread.

        :param now: the time of a value that has none of its own
        """
        if source is None:
            return self.empty, now, _INVALID
        return self.value(source), now if self.time is None else self.time(source), _VALID
