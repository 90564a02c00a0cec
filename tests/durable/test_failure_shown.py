"""What Status says of the newest failure is the same after a restart."""

import pytest
import tango
from support.waiting import wait_until


@pytest.mark.long
def test_a_failure_is_shown_after_a_restart_and_a_start_before_it_is_not(station):
    durable = station(AlarmOnFailure="true", HistoryLength=0)
    uid = durable.oet.run("raises.py")
    durable.wait_for(uid, "FAILED")
    wait_until(lambda: durable.proxy.State() == tango.DevState.ALARM, 5, "ALARM")
    said = durable.proxy.Status()
    assert f"Procedure {uid} (file://raises.py) FAILED at " in said
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
    durable = station()
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
