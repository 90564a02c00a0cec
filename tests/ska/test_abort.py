"""Abort stops what is under way, whoever has begun it, and ends when all of that has."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
from support.audit import requests_since
from support.durable import Station
from support.lrc import TaskStatus, Told
from support.tango_server import filesystem
from support.waiting import wait_until

DONE = [0, "Command Completed"]
SLEEPY = json.dumps({"script": filesystem("sleepy.py")})
LATE = json.dumps({"script": filesystem("slow_init.py")})


def test_an_abort_with_nothing_to_stop_is_completed(proxy):
    told, began = Told(), time.time()
    told.ask(proxy, "Abort")
    assert told.last() == {"status": TaskStatus.COMPLETED, "result": DONE}
    (request,) = requests_since(proxy, began)
    assert (request["command"], request["answer"]) == ("Abort", "accepted; nothing was to be stopped")


def test_it_stops_all_that_commands_wait_for_and_leaves_what_is_prepared(oet):
    prepared, running, loading, aborting = Told(), Told(), Told(), Told()
    ready = int(prepared.ask(oet.proxy, "PrepareScript", "file://good.py").split("_")[1])
    prepared.last()
    running.ask(oet.proxy, "RunScript", SLEEPY)
    loading.ask(oet.proxy, "PrepareScript", LATE)
    wait_until(lambda: TaskStatus.IN_PROGRESS in loading.of("status"), what="it loads")
    aborting.ask(oet.proxy, "Abort")
    for told in (running, loading):
        assert told.last() == {"status": TaskStatus.ABORTED, "result": [7, "stopped on request: Abort"]}
    assert aborting.last() == {"status": TaskStatus.COMPLETED, "result": DONE}
    assert oet.summary(ready)["state"] == "READY"


def test_it_stops_what_an_operator_has_started(oet):
    uid = oet.running("sleepy.py")
    told = Told()
    told.ask(oet.proxy, "Abort")
    assert told.last()["status"] is TaskStatus.COMPLETED
    summary = oet.summary(uid)
    assert summary["state"] == "STOPPED"
    assert [request["command"] for request in summary["requested_by"]] == ["Run", "Abort"]


def test_a_second_one_while_the_first_is_under_way_is_the_same(oet, gated, tmp_path):
    with oet.properties(StopGracePeriod=60):  # the first one is under way until the script may end
        oet.proxy.Run(gated(fn_name="parks"))
        wait_until(lambda: oet.proxy.activeActivity == "half-way", what="it runs")
        first, second = Told(), Told()
        uids = {told.ask(oet.proxy, "Abort") for told in (first, second)}
        assert len(uids) == 1
        (tmp_path / "parked").touch()
        for told in (first, second):
            assert told.last()["status"] is TaskStatus.COMPLETED


def test_it_works_whatever_the_admin_mode_is(oet):
    running = Told()
    running.ask(oet.proxy, "RunScript", SLEEPY)
    oet.proxy.adminMode = "NOT_FITTED"
    aborting = Told()
    aborting.ask(oet.proxy, "Abort")
    assert running.last()["status"] is TaskStatus.ABORTED
    assert aborting.last()["status"] is TaskStatus.COMPLETED


@pytest.mark.long
def test_it_ends_when_the_abort_script_has(station: Callable[..., Station]):
    oet = station(AbortScript="file://abort.py").oet
    running, aborting = Told(), Told()
    running.ask(oet.proxy, "RunScript", SLEEPY)
    wait_until(lambda: oet.proxy.activeProcedureState.name == "RUNNING", what="it runs")
    aborting.ask(oet.proxy, "Abort")
    assert running.last()["status"] is TaskStatus.ABORTED
    assert aborting.last()["status"] is TaskStatus.COMPLETED
    followed = [summary for summary in oet.summaries() if "abort.py" in summary["script"]["script_uri"]]
    assert [(each["state"], each["requested_by"][0]["command"]) for each in followed] == [("COMPLETE", "Abort")]


@pytest.mark.long
def test_it_fails_when_the_abort_script_does(station: Callable[..., Station]):
    oet = station(AbortScript="file://raises.py").oet
    Told().ask(oet.proxy, "RunScript", SLEEPY)
    wait_until(lambda: oet.proxy.activeProcedureState.name == "RUNNING", what="it runs")
    aborting = Told()
    aborting.ask(oet.proxy, "Abort")
    last = aborting.last()
    assert last["status"] is TaskStatus.FAILED
    assert last["result"][0] == 3
    assert last["result"][1].startswith("the abort script, procedure 2, is FAILED: ")
