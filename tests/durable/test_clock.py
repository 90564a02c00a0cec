"""The clock may lie: nothing is deleted because of it, and nothing stands still."""

from __future__ import annotations

import json
import sqlite3
import time

import pytest
import tango
from support.clocks import LyingClock
from support.waiting import wait_until

YEAR = 365 * 86400.0
HOURS = 2 * 3600.0

pytestmark = pytest.mark.long


@pytest.fixture
def clock(tmp_path, monkeypatch):
    """The clock of the servers of this test."""
    clock = LyingClock(tmp_path / "clock")
    for name, value in clock.environment.items():
        monkeypatch.setenv(name, value)
    return clock


def run(made) -> int:
    uid = made.oet.run("prints.py")
    made.wait_for(uid, "COMPLETE")
    return uid


def output_of(made, uid):
    return next((made.folder / "state").rglob(f"{uid}.log"))


def restart(made) -> None:
    made.server.stop()
    made.start()


def test_what_is_older_than_HistoryDays_goes_when_the_clock_has_gone_evenly_for_an_hour(station, clock):
    made = station()
    silent = made.oet.run("keeps_a_file.py")
    made.wait_for(silent, "COMPLETE")
    uid = run(made)
    ready = made.oet.ready("prints.py")
    log = output_of(made, uid)
    data = next((made.folder / "state").rglob(f"runs/{silent}/data"))
    assert not log.with_name(f"{silent}.log").exists(), "what prints nothing has no output"
    made.database.put_properties(made.device, {"HistoryDays": 1e-9, "HistoryLength": 0})
    restart(made)
    time.sleep(2.5)  # the clock is looked at each second
    young = run(made)
    time.sleep(2.5)
    assert log.exists(), "the clock may be wrong"
    assert data.exists()
    clock.set(0.0, passed=HOURS)
    wait_until(lambda: not log.exists(), 20, "its output is deleted")
    wait_until(lambda: not data.parent.exists(), 20, "the folder of the other run is deleted")
    wait_until(lambda: {event["process_uid"] for event in made.events()} == {young}, 20, "its events are deleted")
    with pytest.raises(tango.DevFailed, match="OET_UnknownProcedure"):
        made.oet.summary(uid)
    assert young == ready + 1
    assert made.oet.prepare("quick.py") == young + 1


@pytest.mark.parametrize("wrong", [YEAR, -YEAR, 86400.0, -86400.0])
def test_nothing_goes_because_the_clock_was_wrong_for_some_seconds(station, clock, wrong):
    made = station(HistoryDays=0.5, HistoryLength=0)
    uid = run(made)
    clock.set(wrong)
    meanwhile = run(made)
    time.sleep(3)
    restart(made)
    time.sleep(3)
    clock.set(0.0)
    after = run(made)
    time.sleep(2)
    clock.set(0.0, passed=HOURS)
    time.sleep(5)
    assert {event["process_uid"] for event in made.events()} >= {uid, after}
    assert made.oet.summary(uid)["state"] == "COMPLETE"
    assert output_of(made, uid).exists()
    assert output_of(made, meanwhile).exists(), "files have the kernel's own times"
    assert json.loads(made.proxy.Requests(""))


def test_what_was_done_before_the_clock_was_set_for_the_first_time_stays(station, clock):
    clock.set(1000.0 - time.time())
    made = station(HistoryDays=1, HistoryLength=0)
    uid = run(made)
    clock.set(0.0)
    after = run(made)
    time.sleep(2)
    clock.set(0.0, passed=HOURS)
    time.sleep(5)
    assert {event["process_uid"] for event in made.events()} == {uid, after}
    assert made.oet.summary(uid)["state"] == "COMPLETE"


def test_an_own_handler_that_ends_the_script_is_a_stop_though_the_clock_goes_back_meanwhile(station, clock):
    made = station(StopGracePeriod=20)
    uid = made.oet.run("leaves_when_told.py")
    made.oet.recorder.wait_for("scriptEvent", lambda text: json.loads(text).get("topic") == "armed")
    made.oet.stop(uid)
    clock.set(-86400.0)
    made.wait_for(uid, "STOPPED")
    assert made.oet.recorder.wait_for_end(uid)["reason"] == "stopped on request"


def test_a_locked_history_is_noticed_though_the_clock_has_gone_back(station, clock):
    made = station()
    run(made)
    clock.set(-86400.0)
    somebody = sqlite3.connect(made.folder / "state" / "history.sqlite3", isolation_level=None)
    try:
        somebody.execute("BEGIN EXCLUSIVE")
        wait_until(lambda: "history cannot be written" in made.proxy.status(), 15, "Status says so")
        assert made.proxy.state() == tango.DevState.ALARM  # which is set before Status
    finally:
        somebody.close()
    wait_until(lambda: made.proxy.state() == tango.DevState.ON, 15, "State is ON")
