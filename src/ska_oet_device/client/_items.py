"""What a feed tells its listeners."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ._answers import LifecycleEvent


@dataclass(frozen=True)
class Value:
    """A value of an attribute that was pushed, None if its quality is INVALID; `time` in Unix seconds."""

    attribute: str
    value: Any
    time: float


@dataclass(frozen=True)
class Reconnected:
    """The device can be reached, for the first time or again: what was known of it may be out of date.

    :param begins_anew: it has lost its history, and counts its lifecycle events anew, behind this number
    """

    begins_anew: int | None = None


@dataclass(frozen=True)
class Look:
    """A value may have been pushed before Tango had made the connection: whoever waits for one may look, once."""


@dataclass(frozen=True)
class Closed:
    """The client was closed."""


Item = LifecycleEvent | Value | Reconnected | Look | Closed
Put = Callable[[Item], None]
