"""What clients are told of a script that was to end: why, by whose wish, and whether it has cleaned up."""

import json

import pytest
import tango
from support.waiting import wait_until

ALARM, ON = tango.DevState.ALARM, tango.DevState.ON
SLEEP = """
    from pubsub import pub
    pub.sendMessage("armed")
    time.sleep(600)
"""
CLEAN_UP_FAILS = f"""
import time
def sleep():{SLEEP}
def main():
    try:
        sleep()
    finally:
        raise RuntimeError("park failed: wind")
"""
OWN_HANDLER = """
import signal, time
from pubsub import pub
def main():
    told = []
    signal.signal(signal.SIGTERM, lambda *_: told.append(1))
    pub.sendMessage("armed")
    while not told:
        time.sleep(0.01)
"""
ENDS_ITSELF = """
from ska_oet_device import scripting
def main():
    scripting.stop("clouds")
"""


@pytest.fixture
def script(scratch, request):
    """Write a script below ScriptRoots, and return its name."""

    def write(source):
        path = scratch / f"{request.node.name.partition('[')[0]}.py"
        path.write_text(source)
        return path.name

    return write


def wait_for_state(oet, state):
    wait_until(lambda: oet.recorder.latest["State"] == state, 10, f"State is {state}")


def test_a_clean_up_that_failed_is_an_alarm_until_the_next_start(oet, script):
    uid = oet.armed(script(CLEAN_UP_FAILS))
    oet.stop(uid)
    end = oet.recorder.wait_for_end(uid)
    error = "RuntimeError: park failed: wind"
    assert (end["state"], end["reason"]) == ("STOPPED", f"stopped on request; its clean-up failed: {error}")
    history = oet.summary(uid)["history"]
    assert history["exit"]["clean_up_error"] == error
    assert error in history["stacktrace"]
    wait_for_state(oet, ALARM)
    assert oet.proxy.Status().startswith(f"Procedure {uid} was ended, but its clean-up failed: {error}.")
    wait_until(lambda: error in oet.recorder.latest["stacktrace"], 10, "the attribute stacktrace shows it")
    other = oet.ready("good.py")
    assert oet.proxy.State() == ALARM
    oet.start(other)
    oet.recorder.wait_for_end(other)
    wait_for_state(oet, ON)
    assert "clean-up" not in oet.proxy.Status()


def test_an_abort_script_does_what_the_clean_up_has_not_done(oet, script):
    with oet.properties(AbortScript="file://abort.py"):
        uid = oet.armed(script(CLEAN_UP_FAILS))
        (abort,) = oet.stop(uid)
        oet.recorder.wait_for_end(abort["id"])
        wait_for_state(oet, ON)


@pytest.mark.usefixtures("impatient")
def test_a_clean_up_that_was_killed_is_an_alarm_as_well(oet):
    uid = oet.armed("stubborn.py")
    oet.stop(uid)
    assert oet.recorder.wait_for_end(uid)["state"] == "STOPPED"
    wait_for_state(oet, ALARM)
    oet.recorder.wait_for_end(oet.run("good.py"))
    wait_for_state(oet, ON)


def test_a_script_with_a_handler_of_its_own_was_stopped_and_is_followed_by_the_abort_script_once(oet, script):
    with oet.properties(AbortScript="file://abort.py"):
        uid = oet.armed(script(OWN_HANDLER))
        (abort,) = oet.stop(uid)
        end = oet.recorder.wait_for_end(uid)
        assert (end["state"], end["reason"]) == ("STOPPED", "stopped on request")
        oet.recorder.wait_for_end(abort["id"])
        assert oet.recorder.states(abort["id"]).count("RUNNING") == 1
        wait_for_state(oet, ON)


def test_the_reason_of_a_stop_is_told_and_kept(oet, script):
    uid = oet.armed("stubborn.py")
    oet.stop(uid, reason="clouds \n & wind")
    oet.stop(uid, reason="lunch")
    oet.recorder.wait_for("Status", lambda status: f"Procedure {uid} is being stopped (clouds & wind)" in status)
    assert oet.recorder.wait_for_end(uid)["reason"].startswith("stopped on request: clouds & wind; ")
    assert oet.summary(uid)["history"]["exit"]["stop_reason"] == "clouds & wind"
    answers = [each["answer"] for each in json.loads(oet.proxy.Requests("")) if each["process_uid"] == uid]
    assert "accepted; clouds & wind" in answers


@pytest.mark.parametrize("reason", ["x" * 301, 5])
def test_a_reason_that_is_none_is_refused(oet, reason):
    with pytest.raises(tango.DevFailed, match="reason"):
        oet.stop(1, reason=reason)


def test_a_script_ends_itself_and_nothing_follows(oet, script):
    with oet.properties(AbortScript="file://abort.py"):
        uid = oet.run(script(ENDS_ITSELF))
        end = oet.recorder.wait_for_end(uid)
        assert (end["state"], end["reason"]) == ("STOPPED", "stopped by the script: clouds")
        assert oet.summary(uid)["history"]["exit"]["stop_reason"] == "clouds"
        oet.settle()
        assert oet.proxy.State() == ON
        assert [summary["id"] for summary in oet.summaries() if summary["id"] > uid] == []


def test_what_main_returns_is_in_the_summary(oet, script):
    result = {"files": ["/data/a.h5"], "snr": [1.5] * 3000}
    uid = oet.run(script(f"def main():\n    return {result!r}\n"))
    assert oet.recorder.wait_for_end(uid)["state"] == "COMPLETE"
    assert oet.summary(uid)["history"]["exit"]["result"] == result
    oet.settle()
    (brief,) = [each for each in json.loads(oet.proxy.procedures) if each["id"] == uid]
    assert brief["history"]["exit"]["result"] == "an object of 2"
    assert brief["history"]["exit"]["reason"] == "completed"


def test_one_is_no_failure_but_a_result(oet, script):
    uid = oet.run(script("def main():\n    return 1\n"))
    assert oet.recorder.wait_for_end(uid)["state"] == "COMPLETE"
    assert oet.summary(uid)["history"]["exit"]["result"] == 1
