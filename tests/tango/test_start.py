"""Whose turn it is: starts asked ahead of time, and what becomes of those that come too late."""

import json

import pytest
import tango
from support.tango_server import reason_of
from support.waiting import wait_until


def test_a_forced_start_waits_until_the_procedure_is_ready(oet):
    uid = oet.prepare("slow_init.py", 0.3)
    oet.start(uid, force=True)
    assert oet.recorder.wait_for_end(uid)["state"] == "COMPLETE"
    assert oet.recorder.states(uid)[4:] == ["INITIALISING", "READY", "RUNNING", "READY", "COMPLETE"]


def test_a_forced_start_of_what_is_ready_starts_at_once(oet):
    uid = oet.ready("good.py")
    oet.start(uid, force=True)
    assert oet.recorder.wait_for_end(uid)["state"] == "COMPLETE"


def test_forced_starts_happen_one_after_the_other(oet):
    uid = oet.prepare("slow_init.py", 0.2)
    good = oet.prepare("good.py")
    for _ in range(3):
        oet.start(good, fn="calibrate", force=True)
    oet.start(good, force=True)
    assert oet.recorder.wait_for_end(good)["state"] == "COMPLETE"
    assert oet.recorder.states(good).count("RUNNING") == 4
    oet.stop(uid)


def test_starts_beyond_all_reason_are_refused(oet):
    uid = oet.prepare("slow_init.py")
    for _ in range(16):
        oet.start(uid, force=True)
    with pytest.raises(tango.DevFailed) as caught:
        oet.start(uid, force=True)
    assert reason_of(caught.value)[0] == "OET_TooMany"


def test_a_run_that_finds_another_running_is_dropped_and_told_of(oet):
    running = oet.running("sleepy.py")
    late = oet.run("good.py")
    oet.recorder.wait_for_state(late, "READY")
    sentence = f"The start of main of procedure {late} was dropped, since procedure {running} was RUNNING"
    event = oet.recorder.wait_for("Status", lambda status: sentence in status)
    assert f"procedure {late} stays READY" in event.value
    assert sentence in oet.proxy.Status()
    oet.stop(running)
    oet.recorder.wait_for_end(running)
    other = oet.run("good.py")  # had the start been kept, it would happen before this one
    oet.recorder.wait_for_end(other)
    assert oet.recorder.states(late)[-1] == "READY"
    oet.start(late)
    assert oet.recorder.wait_for_end(late)["state"] == "COMPLETE"
    assert sentence not in oet.proxy.Status()


def test_a_forced_start_that_finds_another_running_is_dropped(oet, tmp_path):
    gate = tmp_path / "go"  # it is not READY before the other one has the turn
    slow = oet.prepare("held.py", str(gate))
    oet.start(slow, force=True)
    running = oet.running("sleepy.py")
    gate.touch()
    oet.recorder.wait_for_state(slow, "READY")
    oet.recorder.wait_for("Status", lambda status: f"start of main of procedure {slow} was dropped" in status)
    assert oet.state(slow) == "READY"
    assert oet.state(running) == "RUNNING"


def test_never_do_two_run_at_once(oet):
    for _ in range(12):
        oet.run("sleepy.py", 0.02)
    wait_until(lambda: all(s["state"] in ("READY", "COMPLETE") for s in oet.summaries()[-12:]), 20, "all had a turn")
    oet.settle()
    running = set()
    for event in oet.recorder.lifecycle():
        running.discard(event["process_uid"])
        if event["state"] == "RUNNING":
            running.add(event["process_uid"])
        assert len(running) <= 1


def test_a_second_start_right_behind_the_first_is_refused(oet):
    first, second = oet.ready("sleepy.py"), oet.ready("sleepy.py")
    oet.start(first)
    with pytest.raises(tango.DevFailed) as caught:
        oet.start(second)
    reason, description = reason_of(caught.value)
    assert reason == "OET_Busy"
    assert f"procedure {first} is RUNNING" in description or f"procedure {first} is being started" in description
    with pytest.raises(tango.DevFailed) as caught:
        oet.start(first)
    assert reason_of(caught.value)[0] == "OET_InvalidState"


def test_who_follows_the_lifecycle_events_alone_learns_that_a_start_was_dropped(oet):
    running = oet.running("sleepy.py")
    late = oet.run("good.py")

    def last_word():
        """A sequencer waits for the end, or for the news that there will be none."""
        for event in oet.recorder.lifecycle(late):
            if event["state"] in ("COMPLETE", "STOPPED", "FAILED", "UNKNOWN"):
                return event
            if event["state"] == event["previous"] == "READY":
                return event
        return None

    event = wait_until(last_word, 10, "the last word on the Run")
    reason = f"the start of main was dropped, since procedure {running} was RUNNING"
    assert (event["state"], event["reason"]) == ("READY", reason)
    assert json.loads(oet.proxy.LifecycleEvents(event["sequence"] - 1))[0] == event
    assert json.loads(oet.proxy.lifecycleEvent) == event
    history = oet.summary(late)["history"]
    assert history["process_states"][-2:] == [["READY", history["process_states"][-2][1]], ["READY", event["time"]]]
    assert history["dropped_starts"] == [{"time": event["time"], "reason": reason}]
    assert oet.summary(running)["history"]["dropped_starts"] == []


def test_each_start_that_was_dropped_is_an_event_and_in_status(oet):
    running = oet.running("sleepy.py")
    uids = [oet.run("good.py", fn=fn) for fn in ("main", "calibrate")]
    for uid in uids:
        wait_until(lambda uid=uid: oet.recorder.states(uid)[-2:] == ["READY", "READY"], 10, "it was dropped")
    status = oet.proxy.Status()
    for uid, fn in zip(uids, ("main", "calibrate"), strict=True):
        assert f"The start of {fn} of procedure {uid} was dropped, since procedure {running} was RUNNING" in status
    oet.stop(uids[0])
    oet.recorder.wait_for_end(uids[0])
    oet.stop(running)
    oet.recorder.wait_for_end(running)
    status = oet.proxy.Status()
    assert f"procedure {uids[0]} was dropped" not in status
    assert f"procedure {uids[1]} was dropped" in status
    oet.start(oet.ready("good.py"), fn="calibrate")  # of another one
    oet.settle()
    assert f"procedure {uids[1]} was dropped" in oet.proxy.Status()


def test_starts_that_waited_behind_main_are_told_of_at_the_end(oet, tmp_path):
    gate = tmp_path / "go"  # main does not return before the other start waits for its turn
    uid = oet.running("held.py", str(gate))
    oet.start(uid, fn="tidy", force=True)
    gate.touch()
    end = oet.recorder.wait_for_end(uid)
    assert (end["state"], end["reason"]) == ("COMPLETE", "completed; 1 start that waited for its turn came to nothing")
    assert oet.recorder.states(uid).count("RUNNING") == 1
