"""Two devices in one server know nothing of each other."""

import json

import pytest
import tango
from support.tango_server import reason_of


def test_nothing_of_one_device_is_seen_by_the_other(oet, other):
    start, ids = other.proxy.lifecycleSequence, list(other.proxy.procedureIds)
    other.recorder.clear()
    running = oet.running("progress.py", seconds=60)
    failed = oet.prepare("raises_at_import.py")
    oet.recorder.wait_for_end(failed)
    oet.recorder.wait_for("activeProgress", lambda value: value == 42.5)
    oet.stop(running)
    oet.recorder.wait_for_end(running)
    mine = other.ready("good.py")  # what was pushed before would have arrived before
    assert [event["process_uid"] for event in other.recorder.lifecycle()] == [mine] * 6
    assert other.recorder.lifecycle()[0]["sequence"] == start + 1
    other.recorder.wait_for("procedureStates", lambda states: states[-1] == "READY")  # the last of the three rows
    # What stood there may be pushed once more.
    assert {tuple(value) for value in other.recorder.values("procedureIds")} - {tuple(ids)} == {(*ids, mine)}
    for name in ("scriptEvent", "stacktrace", "State", "activeProgress"):
        assert other.recorder.values(name) == [], name


def test_each_device_may_have_one_running(oet, other):
    mine, theirs = oet.running("sleepy.py"), other.running("sleepy.py")
    assert oet.proxy.State() == other.proxy.State() == tango.DevState.RUNNING
    assert oet.proxy.activeProcedureId == mine
    assert other.proxy.activeProcedureId == theirs


def test_ids_of_another_device_are_unknown(oet, other):
    while oet.proxy.procedureIds is None or max(oet.proxy.procedureIds) <= max(other.proxy.procedureIds):
        oet.recorder.wait_for_end(oet.run("good.py"))
    uid = oet.ready("good.py")
    with pytest.raises(tango.DevFailed) as caught:
        other.stop(uid)
    assert reason_of(caught.value)[0] == "OET_UnknownProcedure"
    assert other.name in reason_of(caught.value)[1]


def test_uris_name_the_device(oet, other):
    for each in (oet, other):
        uid = each.ready("good.py")
        assert each.summary(uid)["uri"] == f"{each.url}#{uid}"


def test_the_flag_of_one_is_not_the_others(oet, other):
    try:
        oet.proxy.waitForQaReady = False
        assert other.proxy.waitForQaReady
    finally:
        oet.proxy.waitForQaReady = True


def test_a_flood_of_one_leaves_the_other_in_order(oet, other):
    flood = oet.running("flood_pubsub.py")
    for _ in range(3):
        uid = other.run("good.py")
        assert other.recorder.wait_for_end(uid, 10)["state"] == "COMPLETE"
    assert oet.state(flood) == "RUNNING"
    sequences = [event["sequence"] for event in other.recorder.lifecycle()]
    assert sequences == list(range(sequences[0], sequences[0] + 27))
    assert json.loads(other.proxy.LifecycleEvents(sequences[0] - 1)) == other.recorder.lifecycle()
