"""healthState exercises the real path: it falls soon when that is broken, and recovers."""

from __future__ import annotations

import pytest
import tango
from support.processes import let_go_on, suspend
from support.waiting import wait_until

SOON = 30.0  # seconds; within 5 on a quiet machine


@pytest.fixture
def made(station):
    """A server that is OK, and whose template has done its imports: it has made a worker."""
    made = station()
    made.oet.recorder.wait_for_state(made.oet.run("quick.py"), "COMPLETE", 20)
    wait_until(lambda: made.health() == "OK", SOON)
    return made


def falls_and_recovers(made, process, state: tango.DevState, why: str, within: float = SOON) -> None:
    recorder = made.oet.recorder
    recorder.clear()
    suspend(process.pid)
    try:
        recorder.wait_for("healthState", lambda value: value == 2, within)
        recorder.wait_for("Status", lambda text: why in text, within)
        assert made.proxy.state() == state
    finally:
        let_go_on(process.pid)
    wait_until(lambda: made.health() == "OK", SOON, "healthState is OK again")
    wait_until(lambda: made.proxy.state() == tango.DevState.ON, SOON)
    uid = made.oet.run("quick.py")
    recorder.wait_for_state(uid, "COMPLETE", 20)


def test_main_is_stopped(made):
    falls_and_recovers(made, made.server.process, tango.DevState.FAULT, "main process")


def test_no_worker_can_be_forked(made):
    falls_and_recovers(made, made.server.template(), tango.DevState.ALARM, "template process")


@pytest.mark.long
def test_the_template_is_stopped_while_it_imports(station):
    made = station()
    importing = 10.0  # seconds that a template has for its imports, where it has not been done with them
    falls_and_recovers(made, made.server.template(), tango.DevState.ALARM, "template process", SOON + importing)


def test_the_template_ends(made):
    old = made.server.template()
    old.kill()
    wait_until(lambda: made.server.template().pid != old.pid, SOON)
    uid = made.oet.run("quick.py")
    made.oet.recorder.wait_for_state(uid, "COMPLETE", 20)
    wait_until(lambda: made.health() == "OK", SOON)


def test_a_stopped_script_is_no_matter_of_health(made):
    uid = made.oet.running("waits.py")
    pid = made.oet.pid(uid)
    suspend(made.server.workers()[0].pid)
    wait_until(lambda: made.health() == "OK", SOON, "healthState is OK")
    made.oet.stop(uid)
    summary = made.wait_for(uid, "STOPPED")
    assert "SIGKILL" in summary["history"]["exit"]["signals_sent"]
    assert pid not in [process.pid for process in made.server.workers()]
