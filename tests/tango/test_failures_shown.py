"""After a failure Status names it, and State is ALARM where AlarmOnFailure says so, until the next start."""

import re
import time

import tango
from support.waiting import wait_until

ALARM, ON = tango.DevState.ALARM, tango.DevState.ON


def _failed(oet):
    uid = oet.run("raises.py", "SKA042")
    ended = oet.recorder.wait_for_end(uid)
    assert ended["state"] == "FAILED"
    return uid, ended


def test_the_newest_failure_is_in_status_until_the_next_start(oet):
    uid, ended = _failed(oet)
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ended["time"]))
    sentence = f"Procedure {uid} (file://raises.py) FAILED at {since}: "
    oet.recorder.wait_for("Status", lambda status: sentence in status)
    reason = re.search(re.escape(sentence) + r"(.*)", oet.proxy.Status()).group(1)
    assert ended["reason"].splitlines()[0] in reason
    assert oet.proxy.State() == ON
    newer, _ = _failed(oet)
    oet.recorder.wait_for("Status", lambda status: f"Procedure {newer} (file://raises.py) FAILED" in status)
    assert sentence not in oet.proxy.Status()
    prepared = oet.ready("good.py")
    assert "FAILED" in oet.proxy.Status()  # nothing has started yet
    oet.start(prepared)
    oet.recorder.wait_for_state(prepared, "RUNNING")
    assert "FAILED" not in oet.proxy.Status()
    oet.recorder.wait_for_end(prepared)
    assert "FAILED" not in oet.proxy.Status()


def test_a_failure_before_anything_is_started_counts_as_well(oet):
    uid = oet.prepare("raises_at_import.py")
    oet.recorder.wait_for_end(uid)
    oet.recorder.wait_for("Status", lambda status: f"Procedure {uid} (file://raises_at_import.py) FAILED" in status)
    oet.recorder.wait_for_end(oet.run("good.py"))


def test_a_stop_is_no_failure(oet):
    uid = oet.running("sleepy.py")
    oet.stop(uid)
    oet.recorder.wait_for_end(uid)
    oet.settle()
    assert f"Procedure {uid}" not in oet.proxy.Status()


def test_state_is_alarm_after_a_failure_where_that_is_wished(oet):
    with oet.properties(AlarmOnFailure="true"):
        uid, _ = _failed(oet)
        wait_until(lambda: oet.recorder.latest["State"] == ALARM, 20, "an event says ALARM")
        assert oet.proxy.Status().startswith(f"Procedure {uid} (file://raises.py) FAILED at ")
        prepared = oet.ready("good.py")
        assert oet.proxy.State() == ALARM
        oet.start(prepared)
        oet.recorder.wait_for_end(prepared)
        wait_until(lambda: oet.recorder.latest["State"] == ON, 20, "an event says ON")
