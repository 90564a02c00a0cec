"""What `invokedlrc` of ska-tango-base does with this device, by both protocols."""

from __future__ import annotations

import json
import time

import pytest
from support.audit import requests_since
from support.lrc import CommandError, TaskStatus, Told, invoke
from support.tango_server import filesystem
from support.waiting import wait_until

DONE = [0, "Command Completed"]


@pytest.fixture(params=[2, 1])
def newest(request: pytest.FixtureRequest) -> int:
    """The newest protocol that the client knows."""
    return int(request.param)


def run_of(script: str, *args: object, fn: str = "main", **kwargs: object) -> str:
    return json.dumps({"script": filesystem(script), "fn_name": fn, "run_args": {"args": args, "kwargs": kwargs}})


def test_names_are_found_by_those_who_look_for_them_as_they_are_written(proxy):
    assert {"lrcProtocolVersions", "_lrcEvent", "lrcQueue", "lrcExecuting", "lrcFinished"} <= set(
        proxy.get_attribute_list()
    )
    names = {info.cmd_name: (str(info.in_type), str(info.out_type)) for info in proxy.command_list_query()}
    for name in ("RunScript", "PrepareScript", "StartScript"):
        assert names[name] == ("DevString", "DevVarLongStringArray")
    assert names["Abort"] == ("DevVoid", "DevVarLongStringArray")
    assert names["CheckLongRunningCommandStatus"] == ("DevString", "DevString")


def test_a_script_that_ends_is_a_command_that_is_completed(proxy, newest):
    told = Told()
    invoked = invoke(told, proxy, "RunScript", "file://good.py", newest=newest)
    assert invoked.protocol == newest
    assert invoked.uid.endswith("_RunScript")
    told.last()
    assert told.of("result") == [DONE]
    assert told.of("status")[-1] is TaskStatus.COMPLETED
    assert not told.of("error")
    assert proxy.CheckLongRunningCommandStatus(invoked.uid) == "COMPLETED"


def test_the_result_comes_in_the_event_of_the_last_status_and_nothing_after_it(proxy):
    told = Told()
    invoked = invoke(told, proxy, "RunScript", "file://good.py")
    assert told.last() == {"status": TaskStatus.COMPLETED, "result": DONE}
    assert told.of("status") == [TaskStatus.QUEUED, TaskStatus.IN_PROGRESS, TaskStatus.COMPLETED]
    wait_until(lambda: len(proxy.lrcFinished) and invoked.uid in proxy.lrcFinished[-1], what="it is finished")
    assert told.calls[-1]["status"] is TaskStatus.COMPLETED


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        (run_of("raises.py", "SKA999"), "SKA999"),
        (run_of("good.py", fn="sleep"), "sleep"),
        (run_of("exits.py", 3), "3"),
    ],
    ids=["raises", "no such function", "exits"],
)
def test_a_script_that_fails_is_a_command_that_has_failed(proxy, newest, argument, reason):
    told = Told()
    invoked = invoke(told, proxy, "RunScript", argument, newest=newest)
    assert told.last()["status"] is TaskStatus.FAILED
    (result,) = told.of("result")
    assert result[0] == 3
    assert reason in result[1]
    assert proxy.CheckLongRunningCommandStatus(invoked.uid) == "FAILED"


def test_a_script_that_is_stopped_is_a_command_that_was_aborted(oet, newest):
    told = Told()
    invoked = invoke(told, oet.proxy, "RunScript", run_of("sleepy.py"), newest=newest)
    wait_until(lambda: TaskStatus.IN_PROGRESS in told.of("status"), what="it is under way")
    oet.proxy.Stop(json.dumps({"process_uid": int(invoked.uid.split("_")[1]), "reason": "clouds"}))
    assert told.last()["status"] is TaskStatus.ABORTED
    assert told.of("result") == [[7, "stopped on request: clouds"]]


def test_what_it_reports_is_its_progress_as_a_whole_number(oet, gated, newest, tmp_path):
    told = Told()
    invoked = invoke(told, oet.proxy, "RunScript", gated(), newest=newest)
    wait_until(lambda: told.of("progress"), what="progress")
    assert set(told.of("progress")) == {12}
    (executing,) = map(json.loads, oet.proxy.lrcExecuting)
    assert (executing["uid"], executing["progress"]) == (invoked.uid, 12)
    assert tuple(oet.proxy.longRunningCommandProgress) == (invoked.uid, "12")
    (tmp_path / "go").touch()
    told.last()


@pytest.mark.parametrize(
    ("command", "argument", "reason"),
    [
        ("RunScript", "file://not_there.py", "OET_ScriptNotFound: "),
        ("PrepareScript", "{", "OET_InvalidArgument: "),
        ("StartScript", "99999", "OET_UnknownProcedure: "),
        ("StartScript", "", "OET_InvalidState: "),
        ("RunScript", "file:///etc/passwd", "OET_NotAllowed: "),
    ],
    ids=["not found", "no JSON", "unknown", "none is READY", "not allowed"],
)
def test_what_is_refused_is_rejected_with_the_reason_and_is_no_failure(proxy, newest, command, argument, reason):
    before = proxy.lrcFinished
    began = time.time()
    with pytest.raises(CommandError, match=reason):
        invoke(Told(), proxy, command, argument, newest=newest)
    assert proxy.lrcFinished == before
    (request,) = requests_since(proxy, began)
    assert (request["command"], request["answer"].startswith(reason)) == (command, True)


def test_a_start_is_rejected_while_another_procedure_has_the_turn(oet):
    ready = oet.ready("good.py")
    oet.running("sleepy.py")
    with pytest.raises(CommandError, match=r"StartScript command rejected: OET_Busy: .*is RUNNING"):
        invoke(Told(), oet.proxy, "StartScript", str(ready))


def test_a_run_that_is_tried_again_and_again_while_another_has_the_turn_leaves_nothing_behind(oet):
    running = oet.running("sleepy.py")
    before = oet.summaries()
    answers = {(int(code), text) for _ in range(100) for (code,), (text,) in [oet.proxy.RunScript("file://good.py")]}
    text = f"OET_Busy: procedure {running} is RUNNING; another one cannot be started before it ends"
    assert answers == {(5, text)}
    assert oet.summaries() == before
    assert not oet.proxy.lrcQueue


def test_a_run_before_which_another_takes_the_turn_is_rejected_afterwards_and_says_what_is_ready(
    oet, gated, newest, tmp_path
):
    sleepy = oet.ready("sleepy.py")
    told = Told()
    invoked = invoke(told, oet.proxy, "RunScript", gated(waits=True), newest=newest)
    oet.proxy.Start(str(sleepy))
    wait_until(lambda: oet.summary(sleepy)["state"] == "RUNNING", what="the other one has the turn")
    (tmp_path / "init").touch()
    assert told.last()["status"] is TaskStatus.REJECTED
    (result,) = told.of("result")
    mine = int(invoked.uid.split("_")[1])
    dropped = f"OET_Busy: the start of main was dropped, since procedure {sleepy} was RUNNING"
    assert result == [5, f"{dropped}; procedure {mine} stays READY"]
    assert oet.proxy.CheckLongRunningCommandStatus(invoked.uid) == "REJECTED"
    assert oet.summary(mine)["state"] == "READY"


def test_to_prepare_is_completed_when_it_is_ready_and_to_start_when_the_function_has_ended(oet, gated, tmp_path):
    prepared, stepped = Told(), Told()
    uid = prepared.ask(oet.proxy, "PrepareScript", gated())
    assert prepared.last() == {"status": TaskStatus.COMPLETED, "result": DONE}
    procedure = int(uid.split("_")[1])
    assert oet.summary(procedure)["state"] == "READY"
    argument = {"process_uid": procedure, "fn_name": "step"}
    started = stepped.ask(oet.proxy, "StartScript", json.dumps(argument))
    wait_until(lambda: TaskStatus.IN_PROGRESS in stepped.of("status"), what="the step is under way")
    assert oet.proxy.CheckLongRunningCommandStatus(started) == "IN_PROGRESS"
    (tmp_path / "step").touch()
    assert stepped.last()["status"] is TaskStatus.COMPLETED
    finished = Told()
    (tmp_path / "go").touch()
    finished.ask(oet.proxy, "StartScript", "")
    assert finished.last()["status"] is TaskStatus.COMPLETED
    commands = [request["command"] for request in oet.summary(procedure)["requested_by"]]
    assert commands == ["PrepareScript", "StartScript", "StartScript"]


def test_a_preparation_that_is_stopped_or_fails_is_told_so(oet, gated):
    told = Told()
    invoked = invoke(told, oet.proxy, "PrepareScript", gated(waits=True))
    oet.recorder.wait_for_state(int(invoked.uid.split("_")[1]), "INITIALISING")
    oet.stop(int(invoked.uid.split("_")[1]))
    assert told.last()["status"] is TaskStatus.ABORTED
    failed = Told()
    failed.ask(oet.proxy, "PrepareScript", "file://raises_at_import.py")
    assert failed.last()["status"] is TaskStatus.FAILED


def test_starts_that_wait_are_told_apart_those_of_others_among_them(oet, gated, tmp_path):
    prepared = Told()
    uid = prepared.ask(oet.proxy, "PrepareScript", gated(waits=True))
    procedure = int(uid.split("_")[1])
    told = [Told(), Told()]

    def argument(name):
        run_args = {"args": [name]}
        return {"process_uid": procedure, "fn_name": "step", "run_args": run_args, "force_start": True}

    first = told[0].ask(oet.proxy, "StartScript", json.dumps(argument("one")))
    oet.proxy.Start(json.dumps(argument("two")))
    second = told[1].ask(oet.proxy, "StartScript", json.dumps(argument("three")))
    (tmp_path / "init").touch()
    prepared.last()
    (tmp_path / "one").touch()
    told[0].last()
    assert oet.proxy.CheckLongRunningCommandStatus(second) == "QUEUED"
    (tmp_path / "two").touch()
    wait_until(lambda: told[1].of("status")[-1:] == [TaskStatus.IN_PROGRESS], what="the third function is under way")
    (tmp_path / "three").touch()
    assert told[1].last()["status"] is TaskStatus.COMPLETED
    assert first != second


def test_starts_behind_main_come_to_nothing_and_are_rejected(oet, gated, tmp_path):
    uid = Told().ask(oet.proxy, "PrepareScript", gated(waits=True))
    procedure, main, late = int(uid.split("_")[1]), Told(), Told()
    for told in (main, late):
        told.ask(oet.proxy, "StartScript", json.dumps({"process_uid": procedure, "force_start": True}))
    (tmp_path / "init").touch()
    (tmp_path / "go").touch()
    assert main.last()["status"] is TaskStatus.COMPLETED
    assert late.last()["status"] is TaskStatus.REJECTED
    assert late.of("result")[0][1].startswith("OET_InvalidState: ")


def test_a_client_that_unsubscribes_at_once_harms_nobody(oet):
    for _ in range(5):
        invoke(Told(), oet.proxy, "PrepareScript", "file://good.py").unsubscribe()
    told = Told()
    told.ask(oet.proxy, "PrepareScript", "file://good.py")
    assert told.last()["status"] is TaskStatus.COMPLETED


def test_many_at_once_are_each_told_their_own_end(oet):
    told = [Told() for _ in range(20)]
    uids = {each.ask(oet.proxy, "PrepareScript", "file://good.py") for each in told}
    for each in told:
        assert each.last()["status"] is TaskStatus.COMPLETED
        assert each.of("result") == [DONE]
    assert len(uids) == 20


def test_a_status_is_asked_for_by_uid(proxy):
    for uid in ("", "nonsense", "1796073872.7525287_1_RunScript"):
        assert proxy.CheckLongRunningCommandStatus(uid) == "NOT_FOUND"
