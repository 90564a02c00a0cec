"""The second phase of a stop: the abort script, prepared meanwhile and started after the end."""

import pytest
from support.tango_server import SCRIPTS


@pytest.fixture
def aborting(oet):
    """The device with an abort script."""
    with oet.properties(AbortScript="file://abort.py", SubarrayId=5):
        yield oet


@pytest.fixture
def gate(aborting, tmp_path):
    """A file: held.py, which tidies up when it is stopped, does not end before it is there."""
    with aborting.properties(StopGracePeriod=10):
        yield tmp_path / "go"


@pytest.mark.parametrize("wish", [{}, {"run_abort": True}, {"run_abort": None}])
def test_the_abort_script_follows_a_stop(aborting, wish):
    uid = aborting.running("sleepy.py")
    (summary,) = aborting.stop(uid, **wish)
    abort = summary["id"]
    assert summary["script"]["script_uri"] == "file://abort.py"
    assert summary["provenance"]["path"] == str(SCRIPTS / "abort.py")
    assert summary["script_args"][0]["fn_args"] == {"args": [], "kwargs": {"subarray_id": 5}}
    assert [request["command"] for request in summary["requested_by"]] == ["Stop"]
    assert aborting.recorder.wait_for_end(uid)["state"] == "STOPPED"
    assert aborting.recorder.wait_for_end(abort)["state"] == "COMPLETE"


def test_the_abort_script_is_prepared_while_the_first_is_ended_and_starts_after_it(aborting, gate):
    uid = aborting.armed("held.py", str(gate), fn="tidy")
    abort = aborting.stop(uid)[0]["id"]
    aborting.recorder.wait_for_state(abort, "READY")
    gate.touch()
    aborting.recorder.wait_for_end(abort)
    order = [(event["process_uid"], event["state"]) for event in aborting.recorder.lifecycle()]
    assert order.index((abort, "READY")) < order.index((uid, "STOPPED")) < order.index((abort, "RUNNING"))
    times = {(event["process_uid"], event["state"]): event["time"] for event in aborting.recorder.lifecycle()}
    assert times[uid, "STOPPED"] <= times[abort, "RUNNING"]
    assert aborting.recorder.states(abort).count("RUNNING") == 1


@pytest.mark.parametrize("state", ["LOADING", "INITIALISING", "READY"])
def test_the_abort_script_follows_a_stop_in_every_state(aborting, state):
    script = {"LOADING": "hangs_at_import.py", "INITIALISING": "slow_init.py", "READY": "good.py"}[state]
    uid = aborting.prepare(script)
    aborting.recorder.wait_for_state(uid, state)
    abort = aborting.stop(uid)[0]["id"]
    assert aborting.recorder.wait_for_end(uid)["state"] == "STOPPED"
    assert aborting.recorder.wait_for_end(abort)["state"] == "COMPLETE"


def test_no_abort_script_runs_where_none_is_wanted(aborting):
    uid = aborting.running("sleepy.py")
    assert aborting.stop(uid, run_abort=False) == []
    aborting.recorder.wait_for_end(uid)
    assert aborting.recorder.lifecycle()[-1]["process_uid"] == uid


def test_a_second_stop_gives_no_second_abort(aborting, gate):
    uid = aborting.armed("held.py", str(gate), fn="tidy")
    first = aborting.stop(uid)[0]["id"]
    assert [summary["id"] for summary in aborting.stop(uid)] == [first]
    gate.touch()
    assert aborting.recorder.wait_for_end(uid)["state"] == "STOPPED"
    assert aborting.stop(uid) == []
    assert aborting.recorder.wait_for_end(first)["state"] == "COMPLETE"
    assert {event["process_uid"] for event in aborting.recorder.lifecycle()} == {uid, first}


def test_stopping_what_has_ended_runs_no_abort_script(aborting):
    uid = aborting.run("good.py")
    aborting.recorder.wait_for_end(uid)
    assert aborting.stop(uid, run_abort=True) == []


def test_the_abort_script_can_be_stopped_itself_without_another(aborting, gate):
    uid = aborting.armed("held.py", str(gate), fn="tidy")
    abort = aborting.stop(uid)[0]["id"]
    assert aborting.stop(abort) == []
    assert aborting.recorder.wait_for_end(abort)["state"] == "STOPPED"
    gate.touch()
    assert aborting.recorder.wait_for_end(uid)["state"] == "STOPPED"
    assert "RUNNING" not in aborting.recorder.states(abort)


def test_an_abort_script_that_a_device_does_not_have_is_told_of(oet):
    uid = oet.running("sleepy.py")
    assert oet.stop(uid, run_abort=True) == []
    assert oet.recorder.wait_for_end(uid)["state"] == "STOPPED"
    assert f"Procedure {uid} was stopped without an abort script" in oet.proxy.Status()


def test_an_abort_script_that_cannot_be_found_does_not_keep_a_stop_from_working(oet):
    with oet.properties(AbortScript="file://no_such_abort.py"):
        uid = oet.running("sleepy.py")
        assert oet.stop(uid) == []
        assert oet.recorder.wait_for_end(uid)["state"] == "STOPPED"
        assert "abort script cannot be run" in oet.proxy.Status()


def test_an_abort_script_is_not_kept_out_by_max_procedures(oet):
    with oet.properties(AbortScript="file://abort.py", MaxProcedures=1, SubarrayId=5):
        uid = oet.running("sleepy.py")
        abort = oet.stop(uid)[0]["id"]
        assert oet.recorder.wait_for_end(abort)["state"] == "COMPLETE"


def test_an_abort_script_that_is_dropped_says_so_and_is_stopped(aborting):
    busy = aborting.running("sleepy.py")
    other = aborting.ready("good.py")
    abort = aborting.stop(other)[0]["id"]
    assert aborting.recorder.wait_for_end(abort)["state"] == "STOPPED"
    dropped, end = aborting.recorder.lifecycle(abort)[-2:]
    assert (dropped["previous"], dropped["state"]) == ("READY", "READY")
    assert dropped["reason"] == f"the start of main was dropped, since procedure {busy} was RUNNING"
    assert end["previous"] == "READY"
    assert "the abort script has not run" in aborting.proxy.Status()
    aborting.stop(busy, run_abort=False)
    aborting.recorder.wait_for_end(busy)
    aborting.recorder.wait_for_end(aborting.run("good.py"))  # no ALARM any more
