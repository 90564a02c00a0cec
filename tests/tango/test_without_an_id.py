"""Stop and Start without an id: the active procedure, the newest READY one; refused where that is not clear."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import tango
from support.tango_server import SCRIPTS, Database, Oet, reason_of, serving
from support.waiting import wait_until

NAME = "mid-oet/subarray/without-an-id"


@pytest.fixture(scope="module")
def device(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oet]:
    """A server whose audit no other test has filled: it keeps so many refusals at a time, and counts the others."""
    folder = tmp_path_factory.mktemp("without-an-id")
    with serving(database, "without-an-id", NAME, folder, ScriptRoots=[SCRIPTS], StopGracePeriod=0.5) as oet:
        yield oet


@pytest.fixture
def oet(device: Oet) -> Iterator[Oet]:
    device.tidy()
    yield device
    device.tidy()


@pytest.fixture
def gate(oet: Oet, tmp_path: Path) -> Iterator[Path]:
    """A file: held.py, which tidies up when it is stopped, does not end before it is there."""
    with oet.properties(StopGracePeriod=10):
        yield tmp_path / "go"


def newest_request(oet, command: str, uid: int, since: float = 0.0) -> dict:
    """Return the newest request in the audit, once it is the wanted one: a busy device may be behind with its writing.

    :param since: Unix seconds; an earlier one is another one
    """

    def is_kept() -> dict | None:
        for request in json.loads(oet.proxy.Requests('{"limit": 1}')):
            if (request["command"], request["process_uid"]) == (command, uid) and request["time"] >= since:
                return request
        return None

    return wait_until(is_kept, 20, f"the newest request is {command} of procedure {uid}")


def refused(oet, command: str, argument: str) -> str:
    since = time.time()
    with pytest.raises(tango.DevFailed) as refusal:
        oet.proxy.command_inout(command, argument)
    reason, description = reason_of(refusal.value)
    assert reason == "OET_InvalidState"
    assert newest_request(oet, command, 0, since)["answer"].startswith("OET_InvalidState")
    return description


@pytest.mark.parametrize("argument", ["", "{}", '{"reason": "clouds"}'], ids=["nothing", "empty", "reason"])
def test_a_stop_means_the_running_one_and_the_audit_names_it(oet, argument):
    ready = oet.ready("good.py")
    uid = oet.running("sleepy.py")
    assert json.loads(oet.proxy.Stop(argument)) == []
    assert oet.recorder.wait_for_end(uid)["state"] == "STOPPED"
    asked = newest_request(oet, "Stop", uid)
    if "clouds" in argument:
        assert asked["answer"] == "accepted; clouds"
        assert oet.summary(uid)["history"]["exit"]["stop_reason"] == "clouds"
    assert oet.state(ready) == "READY"
    said = f"procedure:{uid},run:{oet.summary(uid)['run_id']}|a Stop without an id means procedure {uid}"
    wait_until(lambda: said in oet.server.log_text(), 20, "the log names the procedure that was meant")


def test_a_stop_means_the_only_one_that_lives_and_a_second_one_does_no_harm(oet, gate):
    uid = oet.armed("held.py", str(gate), fn="tidy")
    for _ in range(3):
        assert json.loads(oet.proxy.Stop("")) == []
    gate.touch()
    assert oet.recorder.wait_for_end(uid)["state"] == "STOPPED"
    assert "no procedure is alive" in refused(oet, "Stop", "")


def test_a_stop_of_one_of_several_that_wait_is_refused_and_they_are_named(oet):
    first, second = oet.ready("good.py"), oet.ready("good.py")
    assert f"procedure {first} is READY, procedure {second} is READY" in refused(oet, "Stop", "")
    assert {oet.state(first), oet.state(second)} == {"READY"}


def test_a_stop_never_means_an_abort_script(oet, gate):
    with oet.properties(AbortScript="file://sleepy.py"):
        uid = oet.armed("held.py", str(gate), fn="tidy")
        (summary,) = json.loads(oet.proxy.Stop(""))
        abort = summary["id"]
        assert [item["id"] for item in json.loads(oet.proxy.Stop(""))] == [abort]
        gate.touch()
        assert oet.recorder.wait_for_end(uid)["state"] == "STOPPED"
        oet.recorder.wait_for_state(abort, "RUNNING")
        said = refused(oet, "Stop", "")
        assert f"procedure {abort} (the abort script of procedure {uid}) is RUNNING" in said
        assert oet.state(abort) == "RUNNING"
        oet.stop(abort)
        assert oet.recorder.wait_for_end(abort)["state"] == "STOPPED"


@pytest.mark.parametrize("argument", ["", '{"fn_name": "main", "run_args": {"kwargs": {"scans": 1}}}'])
def test_a_start_means_the_newest_that_is_ready(oet, argument):
    older, newest = oet.ready("good.py"), oet.ready("good.py")
    assert json.loads(oet.proxy.Start(argument))["id"] == newest
    assert newest_request(oet, "Start", newest)["answer"] == "accepted"
    assert oet.recorder.wait_for_end(newest)["state"] == "COMPLETE"
    assert oet.state(older) == "READY"


def test_a_start_is_refused_while_a_newer_one_is_on_its_way(oet):
    ready, coming = oet.ready("good.py"), oet.prepare("slow_init.py")
    oet.recorder.wait_for_state(coming, "INITIALISING")
    said = refused(oet, "Start", "")
    assert f"procedure {ready} is READY" in said
    assert f"procedure {coming} is INITIALISING" in said
    oet.stop(coming)
    oet.recorder.wait_for_end(coming)
    assert json.loads(oet.proxy.Start(""))["id"] == ready
    assert oet.recorder.wait_for_end(ready)["state"] == "COMPLETE"


def test_a_start_ahead_of_time_means_the_one_that_is_on_its_way(oet):
    oet.ready("good.py")
    coming = oet.prepare("good.py")
    assert json.loads(oet.proxy.Start('{"force_start": true}'))["id"] == coming
    assert oet.recorder.wait_for_end(coming)["state"] == "COMPLETE"


def test_a_start_is_refused_where_none_is_ready(oet):
    assert "no procedure is READY: none is alive" in refused(oet, "Start", "")
    uid = oet.running("sleepy.py")
    assert f"procedure {uid} is RUNNING" in refused(oet, "Start", "")
