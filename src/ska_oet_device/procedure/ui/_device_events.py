"""Pushing the attributes of one device object: what is new, and to whom it may concern."""

from __future__ import annotations

from typing import Any

import tango

from ._attributes import GROUPS, PUSHED, Group, Occasion
from ._view import View

_LARGE = tuple(group for groups in GROUPS.values() for group in groups if group.is_large)
_KINDS = (tango.EventType.CHANGE_EVENT, tango.EventType.ARCHIVE_EVENT, tango.EventType.ALARM_EVENT)


class Listeners:
    """Who listens, as far as it is known; outlives the device objects.

    Once somebody has subscribed to an attribute it is pushed for good: Tango's own answer lapses when the clock is set.
    """

    def __init__(self) -> None:
        self._heard: set[str] = set()
        self._alarms_heard: set[str] = set()
        self._subscribed: list[tuple[str, tango.EventType]] = []

    def hear(self, device: tango.server.Device, name: str) -> bool:
        """Say whether anybody has ever subscribed to an attribute."""
        if name not in self._heard and any(device.is_there_subscriber(name, kind) for kind in _KINDS):
            self._heard.add(name)
        return name in self._heard

    def hear_alarms(self, device: tango.server.Device, name: str) -> bool:
        """Say whether anybody has ever subscribed to alarm events.

        Few do: asking takes 1 us, a push that nobody gets 8 us (measured).
        """
        heard = self._alarms_heard
        if name not in heard and device.is_there_subscriber(name, tango.EventType.ALARM_EVENT):
            heard.add(name)
        return name in heard

    def remember(self, device: tango.server.Device) -> None:
        """Remember who listens to a device object that goes."""
        self._subscribed = [
            (name, kind) for name in PUSHED for kind in _KINDS if device.is_there_subscriber(name, kind)
        ]

    def are_back(self, device: tango.server.Device) -> bool:
        """Say whether those who are remembered listen to this one: Tango sees to that after init_device only."""
        return all(device.is_there_subscriber(name, kind) for name, kind in self._subscribed)

    def forget(self) -> None:
        """Wait for nobody any more."""
        self._subscribed = []


class DeviceEvents:
    """The events of one device object.  Used by the thread of events."""

    def __init__(self, device: tango.server.Device, listeners: Listeners) -> None:
        self.device = device
        self._listeners = listeners
        self._pushed: dict[str, Any] = {}

    def push(self, occasion: Occasion, view: View, now: float, *, always: bool = False) -> None:
        """Push the attributes that are pushed on an occasion, and are not what was pushed last.

        :param now: the time of values that have none of their own, in Unix seconds
        :param always: push them, whatever was pushed last
        """
        for group in GROUPS[occasion]:
            if group.is_large and not self._hear(group):
                continue
            sources = [item.source(view) for item in group.items]
            if always or self._pushed.get(group.name) != sources:
                self._pushed[group.name] = sources
                for item, source in zip(group.items, sources, strict=True):
                    self._send(item.name, *item.reading(source, now))

    def push_state(self, names: list[str]) -> None:
        """Push those of State and Status that are named, or were never pushed; the device object has their values."""
        for name in ("State", "Status"):
            if name in names or name not in self._pushed:
                self._pushed[name] = True
                self._send(name)

    def has_pushed(self, occasion: Occasion) -> bool:
        """Say whether everything that is pushed on an occasion has been pushed, but for what nobody listens to."""
        return all(group.is_large or group.name in self._pushed for group in GROUPS[occasion])

    def look_for_listeners(self) -> None:
        """Note who has subscribed to the attributes that are pushed only if somebody has."""
        for group in _LARGE:
            self._hear(group)

    def _hear(self, group: Group) -> bool:
        """Say whether anybody has ever subscribed to one of a large group; the others cost less than the question."""
        heard = [self._listeners.hear(self.device, item.name) for item in group.items]  # each of them is asked
        return any(heard)

    def _send(self, name: str, *reading: Any) -> None:
        self.device.push_change_event(name, *reading)
        self.device.push_archive_event(name, *reading)
        if self._listeners.hear_alarms(self.device, name):
            self.device.push_alarm_event(name, *reading)
