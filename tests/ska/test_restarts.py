"""What becomes of long running commands when servers are killed and started anew.

An answer waits for a commit of the history 0.1 s at most.  What is in the audit is on record, and so is all before it:
a kill may lose the rest.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.audit import requests_since
from support.durable import Station
from support.lrc import TaskStatus, Told
from support.tango_server import filesystem
from support.waiting import wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(180)]

BEHIND_A_RESTART = 90.0  # seconds; mostly some 10, and the last repetition is due after 60

DONE = [0, "Command Completed"]


def wait_until_half_way(made: Station) -> None:
    """Wait until the script says so; by reading, since of what comes between nobody is told twice."""
    wait_until(lambda: made.proxy.activeActivity == "half-way", what="it is under way")


def test_a_client_is_told_the_end_of_a_command_that_has_outlived_the_device_server(
    station: Callable[..., Station], gated: Callable[..., str], tmp_path: Path
):
    made = station()
    told = Told()
    began = time.time()
    uid = told.ask(made.proxy, "RunScript", gated())
    wait_until_half_way(made)
    requests_since(made.proxy, began)
    made.kill_device_server()
    assert made.proxy.CheckLongRunningCommandStatus(uid) == "IN_PROGRESS"
    (tmp_path / "go").touch()  # at once: before the client has its events again
    wait_until(lambda: made.proxy.CheckLongRunningCommandStatus(uid) == "COMPLETED", what="it is completed")
    assert told.last(BEHIND_A_RESTART) == {"status": TaskStatus.COMPLETED, "result": DONE}
    finished = [json.loads(each)["uid"] for each in made.proxy.lrcFinished]
    assert finished == [uid]


def test_what_ends_while_there_is_no_device_server_is_told(
    station: Callable[..., Station], gated: Callable[..., str], tmp_path: Path
):
    made = station()
    told = Told()
    began = time.time()
    uid = told.ask(made.proxy, "RunScript", gated())
    wait_until_half_way(made)
    requests_since(made.proxy, began)
    old = made.server.device_server()
    old.kill()
    (tmp_path / "go").touch()
    assert told.last(BEHIND_A_RESTART) == {"status": TaskStatus.COMPLETED, "result": DONE}
    assert made.proxy.CheckLongRunningCommandStatus(uid) == "COMPLETED"


def test_what_waits_is_still_told_apart_behind_a_restart(
    station: Callable[..., Station], gated: Callable[..., str], tmp_path: Path
):
    made = station()
    began = time.time()
    (_,), (prepared,) = made.proxy.PrepareScript(gated(waits=True))
    procedure = int(prepared.split("_")[1])

    def argument(name: str) -> str:
        run_args = {"args": [name]}
        return json.dumps({"process_uid": procedure, "fn_name": "step", "run_args": run_args, "force_start": True})

    (_,), (one,) = made.proxy.StartScript(argument("one"))
    made.proxy.Start(argument("two"))
    (_,), (three,) = made.proxy.StartScript(argument("three"))
    requests_since(made.proxy, began, 4)
    made.kill_device_server()
    status = made.proxy.CheckLongRunningCommandStatus
    assert [status(uid) for uid in (prepared, one, three)] == ["IN_PROGRESS", "QUEUED", "QUEUED"]
    assert [json.loads(each)["uid"] for each in made.proxy.lrcQueue] == [one, three]
    for name in ("init", "one"):
        (tmp_path / name).touch()
    wait_until(lambda: status(one) == "COMPLETED", what="the first function is told of")
    assert (status(prepared), status(three)) == ("COMPLETED", "QUEUED")
    made.kill_device_server()
    assert status(three) == "QUEUED"
    for name in ("two", "three"):
        (tmp_path / name).touch()
    wait_until(lambda: status(three) == "COMPLETED", what="the third function is told of")
    assert len(made.proxy.lrcQueue) == 0


def test_an_abort_goes_on_behind_a_restart(station: Callable[..., Station]):
    made = station(StopGracePeriod=6)
    (_,), (running,) = made.proxy.RunScript(json.dumps({"script": filesystem("stubborn.py")}))
    wait_until(lambda: "armed" in made.proxy.scriptEvent, what="it runs")
    began = time.time()
    (_,), (aborting,) = made.proxy.Abort()
    requests_since(made.proxy, began)
    made.kill_device_server()
    assert made.proxy.CheckLongRunningCommandStatus(aborting) in ("IN_PROGRESS", "COMPLETED")
    wait_until(lambda: made.proxy.CheckLongRunningCommandStatus(aborting) == "COMPLETED", 30, "it is completed")
    assert made.proxy.CheckLongRunningCommandStatus(running) == "ABORTED"


def test_a_server_that_was_killed_knows_what_has_finished_and_what_was_cut_off_has_failed(
    station: Callable[..., Station], gated: Callable[..., str]
):
    made = station()
    uids = {}
    for name, command, argument in (
        ("run", "RunScript", "file://good.py"),
        ("failed", "RunScript", json.dumps({"script": filesystem("raises.py"), "run_args": {"args": ["SKA999"]}})),
        ("prepared", "PrepareScript", "file://good.py"),
    ):
        told = Told()
        uids[name] = told.ask(made.proxy, command, argument)
        told.last()
    told = Told()
    began = time.time()
    uids["cut off"] = told.ask(made.proxy, "RunScript", gated())
    wait_until_half_way(made)
    requests_since(made.proxy, began)
    before = [json.loads(each) for each in made.proxy.lrcFinished]
    made.kill_main()
    made.start()
    after = [json.loads(each) for each in made.proxy.lrcFinished]
    assert after[:3] == before
    assert [each["uid"] for each in after] == list(uids.values())
    assert (after[3]["status"], after[3]["result"][0]) == ("FAILED", 3)
    assert "server restarted" in after[3]["result"][1]
    assert tuple(made.proxy.longRunningCommandResult) == (uids["cut off"], json.dumps(after[3]["result"]))
    last = told.last(BEHIND_A_RESTART)
    assert (last["status"], last["result"]) == (TaskStatus.FAILED, after[3]["result"])


def test_what_has_finished_is_known_even_if_no_ended_procedure_is_kept_in_the_attributes(
    station: Callable[..., Station],
):
    made = station(HistoryLength=0)
    told = Told()
    uid = told.ask(made.proxy, "RunScript", "file://good.py")
    told.last()
    made.kill_main()
    made.start()
    assert [json.loads(each)["uid"] for each in made.proxy.lrcFinished] == [uid]
    assert made.proxy.CheckLongRunningCommandStatus(uid) == "COMPLETED"


def test_init_loses_nothing(station: Callable[..., Station], gated: Callable[..., str], tmp_path):
    made = station()
    told = Told()
    began = time.time()
    uid = told.ask(made.proxy, "RunScript", gated())
    wait_until_half_way(made)
    requests_since(made.proxy, began)
    made.proxy.Init()
    assert made.proxy.CheckLongRunningCommandStatus(uid) == "IN_PROGRESS"
    (tmp_path / "go").touch()
    assert told.last() == {"status": TaskStatus.COMPLETED, "result": DONE}
