"""How one device of the fleet is listened to, and left: by whom, and when, `_fleet_feed` decides."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import tango

from . import _gate
from ._publisher import forget_former
from ._report import DeviceReport, Found

_FOLLOWED: Final = ("State", "activeProcedureState", "activeProgress", "activeActivity", "healthInfo")
FIRST_PAUSE: Final = 0.25
"""Seconds until a device that should be there is tried once more."""


@dataclass(frozen=True)
class Pushed:
    """What a device has pushed, to the subscriptions of one attempt.

    :param data: tango.EventData
    """

    device: str
    generation: int
    attribute: str
    data: Any


@dataclass
class Member:
    """A device, and how it is listened to; `generation` counts the attempts."""

    report: DeviceReport
    found: Found | None = None
    generation: int = 0
    subscriptions: list[int] = field(default_factory=list)
    pause: float = FIRST_PAUSE
    again: float = 0.0  # when it is tried again, by the monotonic clock
    looks: list[float] = field(default_factory=list)
    is_subscribing: bool = False
    is_stale: bool = False  # something has happened since it was asked last

    @property
    def endpoint(self) -> tuple[str, int] | None:
        """Where its server is, while it is listened to."""
        reference = self.found.entry.reference if self.found is not None else None
        return None if reference is None else reference.endpoint


@dataclass(frozen=True)
class Subscribed:
    """The subscriptions that one attempt has made."""

    found: Found
    generation: int
    subscriptions: list[int]


def subscribed(found: Found, generation: int, put: Callable[[Any], None]) -> Subscribed:
    """Subscribe to what tells of a device; in a thread of its own; raises DevFailed."""
    device = found.entry.device
    subscriptions: list[int] = []
    with tango.EnsureOmniThread():
        try:
            with _gate.call():
                forget_former(found.proxy, _FOLLOWED[0])
                for name in _FOLLOWED:
                    subscriptions.append(_subscribe(found.proxy, device, generation, name, put))
        except tango.DevFailed:
            _unsubscribe(found, subscriptions)
            raise
    return Subscribed(found, generation, subscriptions)


def _subscribe(proxy: tango.DeviceProxy, device: str, generation: int, name: str, put: Callable[[Any], None]) -> int:
    def push(data: Any) -> None:
        put(Pushed(device, generation, name, data))

    return int(proxy.subscribe_event(name, tango.EventType.CHANGE_EVENT, push))


def leave_behind(found: Found, subscriptions: Iterable[int]) -> threading.Thread:
    """Give up subscriptions; returns the thread that does, for which nobody need wait."""
    thread = threading.Thread(target=_unsubscribe, args=(found, subscriptions), name="oet-fleet leaves", daemon=True)
    thread.start()
    return thread


def _unsubscribe(found: Found, subscriptions: Iterable[int]) -> None:
    with tango.EnsureOmniThread(), _gate.call():
        for each in subscriptions:
            with contextlib.suppress(tango.DevFailed, KeyError):
                found.proxy.unsubscribe_event(each)
