"""What Status says of the newest failure is the same after a restart."""

import pytest
import tango
from support.durable import UNHURRIED
from support.waiting import wait_until


@pytest.mark.long
def test_a_failure_is_shown_after_a_restart_and_a_start_before_it_is_not(station):
    durable = station(AlarmOnFailure="true", HistoryLength=0)
    uid = durable.oet.run("raises.py")
    durable.wait_for(uid, "FAILED")
    said = _alarm_of(durable, f"Procedure {uid} (file://raises.py) FAILED at ")
    durable.oet.prepare("quick.py")
    durable.kill_device_server()
    durable.oet.reconnect()
    assert durable.proxy.State() == tango.DevState.ALARM
    assert durable.proxy.Status() == said
    assert durable.server.stop() == 0
    durable.start()
    assert said.split(" FAILED at ")[1].split(".")[0] in durable.proxy.Status()
    durable.oet.recorder.wait_for_end(durable.oet.run("quick.py"))
    wait_until(lambda: durable.proxy.State() == tango.DevState.ON, 5, "a start has followed")
    durable.server.stop()
    durable.start()
    assert durable.proxy.State() == tango.DevState.ON
    assert "FAILED" not in durable.proxy.Status()


@pytest.mark.long
def test_a_clean_up_that_failed_is_an_alarm_after_a_restart_until_the_next_start(station):
    durable = station(**UNHURRIED)
    uid = durable.oet.armed("cannot_park.py")
    durable.oet.stop(uid)
    durable.wait_for(uid, "STOPPED")
    sentence = f"Procedure {uid} was ended, but its clean-up failed: RuntimeError: park failed: wind."
    wait_until(lambda: durable.proxy.State() == tango.DevState.ALARM, 5, "ALARM")
    durable.kill_device_server()
    durable.oet.reconnect()
    assert durable.proxy.State() == tango.DevState.ALARM
    assert durable.proxy.Status().startswith(sentence)
    assert durable.server.stop() == 0
    durable.start()
    assert durable.proxy.State() == tango.DevState.ALARM
    assert durable.proxy.Status().startswith(sentence)
    durable.oet.recorder.wait_for_end(durable.oet.run("quick.py"))
    wait_until(lambda: durable.proxy.State() == tango.DevState.ON, 5, "a start has followed")
    durable.server.stop()
    durable.start()
    assert durable.proxy.State() == tango.DevState.ON


@pytest.mark.long
def test_an_abort_script_that_failed_is_an_alarm_after_a_restart_until_the_next_start(station):
    durable = station(AbortScript="file://abort_fails.py")
    uid = durable.oet.running("waits.py")
    abort = durable.oet.stop(uid)[0]["id"]
    durable.wait_for(abort, "FAILED")
    said = _alarm_of(durable)
    assert said.startswith(f"Abort script file://abort_fails.py (procedure {abort}) FAILED at ")
    assert "Z: RuntimeError: park failed: wind. Do by hand what it has left undone." in said
    assert said.count("park failed") == 1
    _is_told_after_restarts(durable, said)


@pytest.mark.long
def test_an_abort_script_that_was_dropped_is_an_alarm_after_a_restart_until_the_next_start(station):
    durable = station(AbortScript="file://on_subarray.py")
    other = durable.oet.ready("quick.py")
    busy = durable.oet.running("waits.py")
    abort = durable.oet.stop(other)[0]["id"]
    durable.wait_for(abort, "STOPPED")
    durable.oet.stop(busy, run_abort=False)
    durable.wait_for(busy, "STOPPED")
    said = _alarm_of(durable)
    assert "so the abort script has not run. Do by hand what it does, or run it (file://on_subarray.py)" in said
    assert said.count("has not run") == 1
    _is_told_after_restarts(durable, said)


@pytest.mark.long
def test_an_abort_script_that_could_not_follow_is_an_alarm_after_a_restart_until_the_next_start(station):
    durable = station()
    uid = durable.oet.running("waits.py")
    durable.oet.stop(uid, run_abort=True)
    durable.wait_for(uid, "STOPPED")
    said = _alarm_of(durable)
    assert said.startswith(f"Procedure {uid} was stopped without an abort script: AbortScript is not set.")
    # The audit is what tells it to the next device server, and is written a moment after the answer.
    wait_until(lambda: "without an abort script" in durable.proxy.Requests(""), 20, "the audit has it")
    _is_told_after_restarts(durable, said)


def _alarm_of(durable, what=""):
    """Return Status when it tells of an ALARM, and of no procedure: what has ended is told of a moment after it.

    :param what: what it has to say; Status is set a moment after State
    """

    def settled():
        if durable.proxy.State() != tango.DevState.ALARM:
            return ""
        status = durable.proxy.Status()
        return "" if " is RUNNING" in status or what not in status else status

    return wait_until(settled, 10, "ALARM, and nothing RUNNING")


def _is_told_after_restarts(durable, said):
    durable.kill_device_server()
    durable.oet.reconnect()
    assert _alarm_of(durable) == said
    assert durable.server.stop() == 0
    durable.start()
    assert _alarm_of(durable) == said
    durable.oet.recorder.wait_for_end(durable.oet.run("quick.py"))
    wait_until(lambda: durable.proxy.State() == tango.DevState.ON, 5, "a start has followed")
    durable.server.stop()
    durable.start()
    assert durable.proxy.State() == tango.DevState.ON
