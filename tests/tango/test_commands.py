"""Every command does what the contract says, and answers what it says."""

import json
import time

import pytest
import tango
from support.tango_server import SCRIPTS, filesystem

SUMMARY_KEYS = {
    "id", "uri", "run_id", "script", "provenance", "script_args", "history", "requested_by", "os_pid", "state",
}  # fmt: skip


def test_prepare_answers_with_the_summary_of_a_procedure_being_created(oet):
    before = time.time()
    request = {"script": filesystem("good.py"), "init_args": {"args": [], "kwargs": {"subarray_id": 1}}, "user": "anna"}
    answer = oet.proxy.Prepare(json.dumps(request))
    assert answer.isascii()
    summary = json.loads(answer)
    assert set(summary) == SUMMARY_KEYS
    assert summary["state"] == "CREATING"
    assert summary["uri"] == f"tango://{oet.database.host}/{oet.name}#{summary['id']}"
    assert summary["run_id"][14] == "7"  # a UUID of version 7
    assert summary["script"] == request["script"]
    assert summary["provenance"]["path"] == str(SCRIPTS / "good.py")
    assert summary["script_args"][0]["fn"] == "init"
    assert summary["script_args"][0]["fn_args"] == request["init_args"]
    assert summary["history"]["process_states"][0][0] == "CREATING"
    assert before <= summary["history"]["process_states"][0][1] <= time.time()
    assert summary["os_pid"] is None
    asked = summary["requested_by"][0]
    assert asked["command"] == "Prepare"
    assert asked["user"] == "anna"
    assert "pid" in asked["client"]


def test_prepare_takes_a_bare_uri(oet):
    summary = json.loads(oet.proxy.Prepare("file://good.py"))
    oet.recorder.wait_for_state(summary["id"], "READY")
    assert oet.summary(summary["id"])["script_args"][0]["fn_args"] == {"args": [], "kwargs": {}}


def test_prepare_takes_an_absolute_path(oet):
    summary = json.loads(oet.proxy.Prepare(f"file://{SCRIPTS}/good.py"))
    oet.recorder.wait_for_state(summary["id"], "READY")


def test_a_prepared_script_passes_through_every_state_up_to_ready(oet):
    uid = oet.ready("good.py")
    assert oet.recorder.states(uid) == ["CREATING", "IDLE", "LOADING", "IDLE", "INITIALISING", "READY"]
    summary = oet.summary(uid)
    assert [state for state, _ in summary["history"]["process_states"]] == oet.recorder.states(uid)
    assert summary["os_pid"] > 1
    assert len(summary["provenance"]["sha256"]) == 64


def test_a_script_without_init_is_never_initialising(oet):
    uid = oet.ready("sleepy.py")
    assert oet.recorder.states(uid) == ["CREATING", "IDLE", "LOADING", "IDLE", "READY"]


def test_main_ends_its_procedure(oet):
    uid = oet.ready("good.py")
    summary = oet.start(uid, scans=2)
    assert summary["id"] == uid
    assert summary["script_args"][1]["fn"] == "main"
    assert summary["script_args"][1]["fn_args"] == {"args": [], "kwargs": {"scans": 2}}
    oet.recorder.wait_for_end(uid)
    assert oet.recorder.states(uid)[-4:] == ["READY", "RUNNING", "READY", "COMPLETE"]
    ended = oet.summary(uid)
    assert ended["os_pid"] is None
    assert ended["history"]["exit"] == {
        "exit_code": 0, "signal": None, "reason": "completed", "signals_sent": [], "reaped": [], "survivors": [],
        "result": 2,
    }  # fmt: skip
    assert [request["command"] for request in ended["requested_by"]] == ["Prepare", "Start"]


def test_start_takes_a_bare_id(oet):
    uid = oet.ready("good.py")
    assert json.loads(oet.proxy.Start(str(uid)))["id"] == uid
    assert oet.recorder.wait_for_end(uid)["state"] == "COMPLETE"


def test_other_functions_return_to_ready_as_often_as_called(oet):
    uid = oet.ready("good.py")
    for _ in range(3):
        oet.call(uid, fn="calibrate", source="3C273")
    oet.start(uid)
    oet.recorder.wait_for_end(uid)
    assert oet.recorder.states(uid)[5:] == ["READY", *["RUNNING", "READY"] * 4, "COMPLETE"]


def test_stop_answers_with_an_empty_list_where_there_is_no_abort_script(oet):
    uid = oet.running("sleepy.py")
    assert oet.stop(uid) == []
    assert oet.recorder.wait_for_end(uid)["state"] == "STOPPED"


def test_stop_takes_a_bare_id(oet):
    uid = oet.ready("good.py")
    assert json.loads(oet.proxy.Stop(str(uid))) == []
    assert oet.recorder.wait_for_end(uid)["state"] == "STOPPED"


def test_run_prepares_and_starts(oet):
    summary = json.loads(oet.proxy.Run("file://good.py"))
    assert summary["state"] == "CREATING"
    uid = summary["id"]
    assert oet.recorder.wait_for_end(uid)["state"] == "COMPLETE"
    assert oet.recorder.states(uid)[5:] == ["READY", "RUNNING", "READY", "COMPLETE"]
    assert [request["command"] for request in oet.summary(uid)["requested_by"]] == ["Run"]


def test_run_calls_the_function_that_is_named(oet):
    uid = oet.run("good.py", "3C48", fn="calibrate")
    oet.recorder.wait_for_state(uid, "RUNNING")
    oet.recorder.wait_for("lifecycleEvent", lambda _: oet.recorder.states(uid)[-1] == "READY")
    assert oet.summary(uid)["script_args"][1]["fn"] == "calibrate"


def test_summarise_of_nothing_is_all_that_the_attributes_show(oet):
    uid = oet.ready("good.py")
    ids = [summary["id"] for summary in oet.summaries()]
    assert ids == list(oet.proxy.procedureIds)
    assert ids[-1] == uid


def test_summarise_answers_in_the_order_asked(oet):
    first, second = oet.ready("good.py"), oet.ready("good.py")
    answer = json.loads(oet.proxy.Summarise([second, first]))
    assert [summary["id"] for summary in answer] == [second, first]


def test_lifecycle_events_are_those_after_a_number_oldest_first(oet):
    start = oet.proxy.lifecycleSequence
    uid = oet.ready("good.py")
    events = json.loads(oet.proxy.LifecycleEvents(start))
    assert [event["sequence"] for event in events] == list(range(start + 1, start + 7))
    assert events == oet.recorder.lifecycle(uid)
    assert json.loads(oet.proxy.LifecycleEvents(start + 4)) == events[4:]
    assert json.loads(oet.proxy.LifecycleEvents(start + 6)) == []


def test_ids_count_up(oet):
    first = oet.ready("good.py")
    assert oet.ready("good.py") == first + 1


def test_many_clients_may_prepare_at_once(oet):
    uids = [oet.prepare("good.py") for _ in range(6)]
    for uid in uids:
        oet.recorder.wait_for_state(uid, "READY", 20)
    pids = {oet.pid(uid) for uid in uids}
    assert len(pids) == 6


@pytest.mark.parametrize("uid", [0, -1, 10**12])
def test_override_and_unknown_ids_leave_the_device_in_order(oet, uid):
    oet.proxy.OverrideWaitForQaReady()
    with pytest.raises(tango.DevFailed):
        oet.proxy.Summarise([uid])
    assert oet.ready("good.py") > 0
