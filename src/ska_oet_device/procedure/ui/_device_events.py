"""Pushing the attributes of one device object: what is new, and to whom it may concern."""

from __future__ import annotations

from typing import Any

import tango

from ._attribute import Occasion, Reading
from ._attributes import GROUPS, PUSHED, STANDING, Group
from ._view import View

_BYTES_OF_ROW = 64
_KINDS = (tango.EventType.CHANGE_EVENT, tango.EventType.ARCHIVE_EVENT, tango.EventType.ALARM_EVENT)


class Listeners:
    """Who listens, as far as it is known; outlives the device objects.

    Once somebody has subscribed to an attribute it is pushed for good: Tango's own answer lapses when the clock is set.
    """

    def __init__(self) -> None:
        self._heard: set[tuple[str, tango.EventType]] = set()
        self._subscribed: list[tuple[str, tango.EventType]] = []

    def hear(self, device: tango.server.Device, name: str) -> bool:
        """Say whether anybody has ever subscribed to an attribute."""
        heard = [self.hear_kind(device, name, kind) for kind in _KINDS]  # each of them is asked, and noted
        return any(heard)

    def hear_kind(self, device: tango.server.Device, name: str, kind: tango.EventType) -> bool:
        """Say whether anybody has ever subscribed to one kind of events of an attribute.

        Asking takes 1 us, a push that nobody gets 8 us (measured), and both the turn of the interpreter's lock.
        """
        if (name, kind) not in self._heard and device.is_there_subscriber(name, kind):
            self._heard.add((name, kind))
        return (name, kind) in self._heard

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
        self.is_behind = True
        """Whether what a lifecycle change brings along is still to be pushed, as for a new object, or after a fault."""
        self._pushed: dict[str, tuple[list[Any], list[Reading]]] = {}  # by group: what it was made of, and what it was
        self._pushed_state: dict[str, Any] = {}
        self._seldom = (  # few listen to these
            (tango.EventType.ARCHIVE_EVENT, device.push_archive_event),
            (tango.EventType.ALARM_EVENT, device.push_alarm_event),
        )

    def push(self, occasion: Occasion, view: View, now: float, *, always: bool = False) -> bool:
        """Push the attributes that are pushed on an occasion, and are not what was pushed last; False if none is.

        :param now: the time of values that have none of their own, in Unix seconds
        :param always: push them, whatever was pushed last
        """
        pushed = [self._push(group, view, now, always=always) for group in GROUPS[occasion]]
        return any(pushed)

    def assume(self, occasion: Occasion, view: View) -> None:
        """Take what is pushed on an occasion for pushed: whoever listens has it, or reads it when it subscribes."""
        for group in GROUPS[occasion]:
            self._assume(group, view)

    def _assume(self, group: Group, view: View) -> None:
        """Take a group for pushed as it is; it is not pushed once more, since it was not pushed."""
        self._pushed[group.name] = [item.source(view) for item in group.items], []

    def push_heard(self, occasion: Occasion, view: View, now: float) -> None:
        """Push as `push` does, but only what somebody has ever subscribed to."""
        for group in GROUPS[occasion]:
            if self._hear(group):
                self._push(group, view, now)
            else:  # what was pushed long ago must not be told again to whoever subscribes now
                self._assume(group, view)

    def push_list(self, group: Group, view: View, now: float) -> int:
        """Push attributes that grow with the procedures, if anybody has ever subscribed to one of them.

        :return: about how many bytes a subscriber was sent
        """
        values = self._push(group, view, now) if self._hear(group) else []
        return sum(map(_size, values))

    def _push(self, group: Group, view: View, now: float, *, always: bool = False) -> list[Any]:
        """Push a group unless it is what was pushed last; returns the values."""
        sources = [item.source(view) for item in group.items]
        before = self._pushed.get(group.name)
        if not always and before is not None and before[0] == sources:
            return []
        self._pushed.pop(group.name, None)  # should a push fail, the next occasion is to repeat it
        readings = [item.reading(source, now) for item, source in zip(group.items, sources, strict=True)]
        for item, reading in zip(group.items, readings, strict=True):
            self._send(item.name, *reading)
        self._pushed[group.name] = sources, readings
        return [value for value, _, _ in readings]

    def push_state(self) -> bool:
        """Push State and Status where they are not what was pushed last; False if both are.

        The device object has the values.
        """
        is_new = False
        for name, value in (("State", self.device.get_state()), ("Status", self.device.get_status())):
            if self._pushed_state.get(name) != value:
                self._send(name)
                self._pushed_state[name] = value
                is_new = True
        return is_new

    def repeat_standing(self) -> None:
        """Push what says how things stand once more, as it was pushed last; the lists at their next occasion."""
        for group in STANDING:
            if group in GROUPS[Occasion.LISTS]:
                self._pushed.pop(group.name, None)
            elif group.name in self._pushed:
                for item, reading in zip(group.items, self._pushed[group.name][1], strict=False):  # none: assumed
                    self._send(item.name, *reading)
        for name in ("State", "Status"):
            self._send(name)

    def look_for_listeners(self) -> None:
        """Note who has subscribed to what is pushed only if somebody has."""
        for name in PUSHED:
            self._listeners.hear(self.device, name)

    def _hear(self, group: Group) -> bool:
        """Say whether anybody has ever subscribed to one of a group of lists; the rest costs less than the question."""
        return any(self._listeners.hear(self.device, item.name) for item in group.items)

    def _send(self, name: str, *reading: Any) -> None:
        self.device.push_change_event(name, *reading)
        for kind, push in self._seldom:
            if self._listeners.hear_kind(self.device, name, kind):
                push(name, *reading)


def _size(value: Any) -> int:
    """Return about how many bytes a value has: a text, a table of texts, or a list with a row for each procedure."""
    if isinstance(value, str):
        return len(value)
    if value and isinstance(value[0], tuple):
        return sum(len(cell) for row in value for cell in row)
    return _BYTES_OF_ROW * len(value)
