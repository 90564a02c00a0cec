"""The packaged example scripts, and the simulated mount that they drive, on real servers."""

from __future__ import annotations

import json
import queue
from collections.abc import Iterator
from typing import Any

import pytest
import tango
from support.waiting import wait_until

from ska_oet_device.client._interrupts import Interrupts
from ska_oet_device.client._publisher import forget_former
from ska_oet_device.client._stack import Stack
from ska_oet_device.examples import scan


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Interrupts() as interrupts, Stack(interrupts) as running:
        yield running


@pytest.fixture
def device(stack: Stack) -> tango.DeviceProxy:
    return tango.DeviceProxy(stack.device)


@pytest.fixture
def mount(stack: Stack) -> tango.DeviceProxy:
    proxy = tango.DeviceProxy(stack.mount)
    proxy.Halt()
    forget_former(proxy, "State")
    return proxy


def run(device: tango.DeviceProxy, script: str, init: dict[str, Any] | None = None, **run_args: Any) -> int:
    request = {
        "script": {"script_type": "filesystem", "script_uri": script},
        "init_args": {"kwargs": init or {}},
        "run_args": {"kwargs": run_args},
    }
    return int(json.loads(device.Run(json.dumps(request)))["id"])


def summary(device: tango.DeviceProxy, uid: int) -> dict[str, Any]:
    return dict(json.loads(device.Summarise([uid]))[0])


def ends(device: tango.DeviceProxy, uid: int) -> dict[str, Any]:
    wait_until(
        lambda: summary(device, uid)["state"] in ("COMPLETE", "STOPPED", "FAILED"), what=f"procedure {uid} has ended"
    )
    return summary(device, uid)


def test_hello_greets_and_reports_that_it_is_done(device: tango.DeviceProxy, stack: Stack) -> None:
    uid = run(device, "file://hello.py", {"subarray_id": 7}, name="Ada", seconds=0.0)
    assert ends(device, uid)["state"] == "COMPLETE"
    assert (device.activeProgress, device.activeActivity) == (100.0, "done")


def test_scan_visits_every_position(device: tango.DeviceProxy, mount: tango.DeviceProxy) -> None:
    uid = run(device, "file://scan.py", positions=[[10.0, 50.0], [15.0, 55.0]], dwell=0.0)
    assert ends(device, uid)["state"] == "COMPLETE"
    assert (mount.azimuth, mount.elevation) == (15.0, 55.0)
    assert mount.state() == tango.DevState.STANDBY
    assert device.activeProgress == 100.0


@pytest.mark.parametrize("missed", [("MOVING",), ("MOVING", "ON"), ("MOVING", "ON", "azimuth", "elevation")])
def test_scan_goes_on_though_events_of_the_mount_have_reached_nobody(
    mount: tango.DeviceProxy, monkeypatch: pytest.MonkeyPatch, missed: tuple[str, ...]
) -> None:
    events: queue.SimpleQueue[tango.EventData] = queue.SimpleQueue()

    def hear(event: tango.EventData) -> None:
        if event.attr_value.name.lower() not in missed and str(event.attr_value.value) not in missed:
            events.put(event)

    monkeypatch.setattr(scan, "mount", mount)
    monkeypatch.setattr(scan, "PATIENCE", 2.0)
    subscriptions = [mount.subscribe_event(name, tango.EventType.CHANGE_EVENT, hear) for name in scan.FOLLOWED]
    try:
        target = (mount.azimuth + (10.0 if mount.azimuth < 0 else -10.0), 60.0)
        list(scan.slew(target, events))
        assert (mount.azimuth, mount.elevation) == target
    finally:
        for subscription in subscriptions:
            mount.unsubscribe_event(subscription)


def test_scan_observes_where_the_mount_is_already(device: tango.DeviceProxy, mount: tango.DeviceProxy) -> None:
    place = [mount.azimuth, mount.elevation]
    uid = run(device, "file://scan.py", positions=[place, place], dwell=0.0)
    assert ends(device, uid)["state"] == "COMPLETE"


def test_scan_of_a_mount_that_is_not_there_fails_with_the_reason(device: tango.DeviceProxy) -> None:
    uid = run(device, "file://scan.py", {"mount_name": "sim/mount/99"})
    ended = ends(device, uid)
    assert ended["state"] == "FAILED"
    assert "sim/mount/99" in ended["history"]["stacktrace"]


def test_scan_beyond_the_limits_of_the_mount_fails_with_the_reason(
    device: tango.DeviceProxy, mount: tango.DeviceProxy
) -> None:
    uid = run(device, "file://scan.py", positions=[[0.0, 5.0]])
    assert "Mount_OutOfRange" in ends(device, uid)["history"]["stacktrace"]


def test_scan_halts_the_mount_when_it_is_stopped(device: tango.DeviceProxy, mount: tango.DeviceProxy) -> None:
    far = -250.0 if mount.azimuth > 0 else 250.0
    uid = run(device, "file://scan.py", positions=[[far, 60.0]])
    wait_until(lambda: mount.state() == tango.DevState.MOVING, what="the mount moves")
    assert json.loads(device.Stop(json.dumps({"process_uid": uid, "run_abort": False}))) == []
    assert ends(device, uid)["state"] == "STOPPED"
    assert mount.state() == tango.DevState.STANDBY
    assert abs(mount.azimuth) < 250.0


def test_abort_halts_the_mount_of_the_subarray(device: tango.DeviceProxy, mount: tango.DeviceProxy) -> None:
    mount.Slew([-250.0 if mount.azimuth > 0 else 250.0, 60.0])
    uid = run(device, "file://abort.py", {"subarray_id": 1})
    assert ends(device, uid)["state"] == "COMPLETE"
    assert mount.state() == tango.DevState.STANDBY


def test_a_stop_runs_the_abort_script_after_the_scan_has_ended(
    device: tango.DeviceProxy, mount: tango.DeviceProxy
) -> None:
    far = -250.0 if mount.azimuth > 0 else 250.0
    uid = run(device, "file://scan.py", positions=[[far, 60.0]])
    wait_until(lambda: mount.state() == tango.DevState.MOVING, what="the mount moves")
    (abort,) = json.loads(device.Stop(str(uid)))
    assert ends(device, abort["id"])["state"] == "COMPLETE"
    times = dict(summary(device, uid)["history"]["process_states"])
    begun = dict(summary(device, abort["id"])["history"]["process_states"])
    assert times["STOPPED"] <= begun["RUNNING"]


def test_the_mount_pushes_its_way_and_its_arrival(mount: tango.DeviceProxy) -> None:
    heard: list[tango.EventData] = []
    subscriptions = [
        mount.subscribe_event(name, tango.EventType.CHANGE_EVENT, heard.append) for name in ("State", "azimuth")
    ]
    try:
        target = mount.azimuth + (90.0 if mount.azimuth < 0 else -90.0)  # 3 s: nobody is held up for so long
        mount.Slew([target, mount.elevation])
        assert mount.state() == tango.DevState.MOVING

        def states() -> list[tango.DevState]:
            return [event.attr_value.value for event in heard if event.attr_value.name.lower() == "state"]

        wait_until(lambda: states()[-1] == tango.DevState.ON, what="the mount has arrived")
        # MOVING, which the command has shown, may be pushed before ZMQ has passed the new subscription on.
        assert set(states()[:-1]) <= {tango.DevState.STANDBY, tango.DevState.ON, tango.DevState.MOVING}
        places = [event.attr_value.value for event in heard if event.attr_value.name.lower() == "azimuth"]
        assert places[-1] == pytest.approx(target)
        assert len(places) > 3
    finally:
        for subscription in subscriptions:
            mount.unsubscribe_event(subscription)


def test_the_mount_follows_the_sky(mount: tango.DeviceProxy) -> None:
    begun = mount.azimuth
    mount.Track()
    assert mount.state() == tango.DevState.RUNNING
    wait_until(lambda: mount.azimuth > begun, what="the mount follows")
    mount.Halt()
    assert mount.state() == tango.DevState.STANDBY


def test_the_mount_survives_being_initialised_while_it_moves(mount: tango.DeviceProxy) -> None:
    mount.Slew([-200.0 if mount.azimuth > 0 else 200.0, 60.0])
    mount.Init()
    assert mount.state() == tango.DevState.STANDBY
