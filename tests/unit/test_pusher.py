"""What the thread of events does first when several things wait; its steps are taken one by one."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any

import pytest
import tango

from ska_oet_device.procedure.application import (
    Active,
    Change,
    CommandUpdate,
    ProcedureHistory,
    ProcedureSummary,
    ScriptExecutionService,
    Snapshot,
)
from ska_oet_device.procedure.application._lrc_tracker import CommandTracker
from ska_oet_device.procedure.domain import FileSystemScript, ProcedureState
from ska_oet_device.procedure.history import LifecycleEvent
from ska_oet_device.procedure.link import MainStatus
from ska_oet_device.procedure.ui import _quiet
from ska_oet_device.procedure.ui._device_events import Listeners
from ska_oet_device.procedure.ui._pusher import EventPusher
from ska_oet_device.procedure.ui._repeats import Repeats
from ska_oet_device.procedure.ui._status import DeviceStatus, Standing


class _Device:
    """Stands for the device object: a real one is pushed to by a thread, which nobody can hold up half-way."""

    def __init__(self) -> None:
        self.pushed: list[tuple[str, Any]] = []
        self.times: dict[str, list[Any]] = {}
        self._state, self._status = tango.DevState.INIT, ""
        self.fails = ""
        self.unheard: set[str] = set()

    def get_state(self) -> tango.DevState:
        return self._state

    def set_state(self, state: tango.DevState) -> None:
        self._state = state

    def get_status(self) -> str:
        return self._status

    def set_status(self, status: str) -> None:
        self._status = status

    def is_there_subscriber(self, name: str, kind: tango.EventType) -> bool:
        return kind == tango.EventType.CHANGE_EVENT and name not in self.unheard

    def push_change_event(self, name: str, value: Any = None, *more: Any) -> None:
        if name == self.fails:
            self.fails = ""
            raise RuntimeError("a push that fails")
        self.pushed.append((name, value))
        self.times.setdefault(name, []).append(more[0] if more else None)

    def push_archive_event(self, name: str, *_: Any) -> None:
        self.pushed.append((f"archive event of {name}", None))

    push_alarm_event = push_archive_event

    def values(self, name: str) -> list[Any]:
        return [value for each, value in self.pushed if each == name]


@pytest.fixture
def device() -> _Device:
    return _Device()


@pytest.fixture
def pusher(device: _Device) -> EventPusher:
    service, main = ScriptExecutionService(), MainStatus()
    main.pid = os.getpid()
    pusher = EventPusher(service, DeviceStatus(service, main))
    pusher.attach(device)
    while not device.values("procedures"):
        pusher._step()
    device.pushed.clear()
    return pusher


def _changes(count: int) -> list[Change]:
    states: tuple[tuple[ProcedureState, float], ...] = ()
    changes = []
    for number in range(1, count + 1):
        state = ProcedureState.RUNNING if number % 2 else ProcedureState.READY
        states += ((state, float(number)),)
        summary = ProcedureSummary(1, FileSystemScript("file:///a.py"), (), ProcedureHistory(states), state)
        event = LifecycleEvent(number, 1, "run", None, state, float(number), None)
        changes.append(Change(event, Snapshot((summary,), (summary,), Active(1, state))))
    return changes


def test_of_several_changes_that_wait_all_lifecycle_events_go_first_and_the_newest_lists_last(
    pusher, device, monkeypatch
):
    monkeypatch.setattr(_quiet, "_LONGEST_WAIT", 3600.0)  # a busy machine may take longer for five steps than it is
    monkeypatch.setattr(pusher, "_repeats", Repeats(lambda: 0.0))  # and what stands is not due once more meanwhile
    for change in _changes(5):
        pusher.put_change(change)
    while not (device.values("procedures") and device.values("procedureStates")):
        pusher._step()
    names = [name for name, _ in device.pushed]
    assert [json.loads(text)["sequence"] for text in device.values("lifecycleEvent")] == [1, 2, 3, 4, 5]
    assert len(device.values("activeProcedureState")) == 5, "nothing that is small is merged"
    assert [len(each) for each in device.values("procedureStates")] == [1]
    (summary,) = json.loads(device.values("procedures")[0])
    assert len(summary["history"]["process_states"]) == 5
    assert names.index("procedures") > len(names) - 1 - names[::-1].index("activeProcedureState")


def test_nothing_is_pushed_to_nobody(pusher, device):
    pusher.put_change(_changes(1)[0])
    pusher._step()
    assert not [name for name, _ in device.pushed if name.startswith("archive")]


def test_of_many_who_ask_for_a_refresh_one_is_enough(pusher):
    """Each read of healthState asks."""
    for _ in range(1000):
        pusher.refresh()
    assert pusher._items.qsize() == 1
    pusher._step()
    pusher.refresh()
    assert pusher._items.qsize() == 1


def test_who_hears_of_another_health_reads_in_status_why(pusher, device, monkeypatch):
    read: dict[str, str] = {}
    push = device.push_change_event

    def push_and_read(name: str, *more: Any) -> None:
        read[name] = device.get_status()
        push(name, *more)

    monkeypatch.setattr(device, "push_change_event", push_and_read)
    pusher._status.store_problem = "The store cannot be read."
    pusher.refresh()
    pusher._step()
    assert ["The store cannot be read." in read[name] for name in ("healthState", "healthInfo")] == [True, True]


@pytest.mark.parametrize("name", ["lifecycleEvent", "State", "Status", "activeProcedureState", "waitForQaReady"])
def test_what_could_not_be_pushed_is_pushed_at_the_next_occasion(pusher, device, name):
    device.fails = name
    pusher._service.script_context.wait_for_qa_ready = False
    pusher._status.standing = Standing(problems=("Something is wrong.",))
    for item in (lambda: pusher.put_change(_changes(1)[0]), pusher.refresh):
        item()
        with contextlib.suppress(RuntimeError):
            pusher._step()
    assert device.fails == ""
    pusher.refresh()
    pusher._step()
    pushed = {each for each, _ in device.pushed}
    assert {"State", "Status", "activeProcedureState", "waitForQaReady"} <= pushed


def test_how_things_stand_is_pushed_once_more_and_what_has_happened_is_not(pusher, device):
    """For a client whose connection was still being made."""
    pusher.put_change(_changes(1)[0])
    pusher._step()
    while pusher._lists.seconds_until_due() is not None:
        pusher._step()
    device.pushed.clear()
    while not device.values("lifecycleSequence"):
        pusher._step()
    while pusher._lists.seconds_until_due() is not None:
        pusher._step()
    pushed = [name for name, _ in device.pushed]
    standing = {
        "State",
        "Status",
        "activeProcedureState",
        "activeProgress",
        "healthState",
        "procedures",
        "procedureIds",
    }
    assert standing <= set(pushed)
    assert len(pushed) == len(set(pushed))
    assert not {"lifecycleEvent", "scriptEvent", "scriptOutput"} & set(pushed)
    assert device.values("lifecycleSequence") == [1]
    for name in ("lifecycleSequence", "activeProcedureState", "procedures", "procedureIds"):
        assert device.times[name][-1] == 1.0, "the time of the change, not of the repetition"


def test_what_could_not_be_pushed_is_not_repeated_as_it_was_before(pusher, device):
    first, second = _changes(2)
    pusher.put_change(first)
    pusher._step()
    device.fails = "activeProcedureState"
    pusher.put_change(second)
    with contextlib.suppress(RuntimeError):
        pusher._step()
    device.pushed.clear()
    pusher._events.repeat_standing()
    assert device.values("lifecycleSequence") == [2]
    assert not device.values("activeProcedureState"), "the old value is not pushed behind the newer event"


def _nobody_listens_to(name: str, pusher: EventPusher, device: _Device) -> None:
    device.unheard = {name}
    pusher._listeners = pusher._events._listeners = Listeners()


def _update(tracker: CommandTracker, name: str, pid: int) -> CommandUpdate:
    return tracker.begin(name, pid, float(pid))


def test_who_subscribes_late_is_not_told_again_what_was_so_before(pusher, device):
    """Lists of commands are pushed to those alone who have subscribed."""
    name, tracker = "longRunningCommandStatus", CommandTracker()
    _nobody_listens_to(name, pusher, device)
    pusher.put_update(_update(tracker, "PrepareScript", 1))
    pusher._step()
    device.unheard = set()  # it reads what stands, the first command, and then hears of the second
    pusher.put_update(_update(tracker, "PrepareScript", 2))
    pusher._step()
    pusher._push_again(pusher._events)
    told = device.values(name)
    assert told == [["1.0_1_PrepareScript", "QUEUED", "2.0_2_PrepareScript", "QUEUED"]] * 2


def test_what_nobody_has_subscribed_to_is_not_pushed_again_when_somebody_does(pusher, device):
    name, tracker = "longRunningCommandStatus", CommandTracker()
    _nobody_listens_to(name, pusher, device)
    pusher.put_update(_update(tracker, "PrepareScript", 1))
    pusher._step()
    device.unheard = set()
    pusher._push_again(pusher._events)
    assert device.values(name) == []
