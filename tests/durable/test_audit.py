"""The command Requests: who asked for what, when, and with which answer."""

from __future__ import annotations

import json
import os
import time

import pytest
import tango
from support.audit import requests_since
from support.durable import Station
from support.waiting import wait_until


@pytest.fixture(scope="module")
def made(database, scripts, tmp_path_factory):
    """A server for all tests of this module."""
    made = Station(database, "audit", tmp_path_factory.mktemp("audit"), {"ScriptRoots": [scripts]})
    try:
        made.start()
        yield made
    finally:
        made.clean_up()


def test_an_accepted_request(made):
    before = time.time()
    uid = made.oet.prepare("quick.py")
    (request,) = requests_since(made.proxy, before)
    assert request["command"] == "Prepare"
    assert request["process_uid"] == uid
    assert request["answer"] == "accepted"
    assert before - 1 < request["time"] < time.time() + 1
    assert f"pid {os.getpid()} on host {os.uname().nodename}" in request["client"]
    assert request["user"] is None
    made.oet.stop(uid)


def test_the_user_that_a_client_names(made):
    script = {"script_type": "filesystem", "script_uri": "file://quick.py"}
    began = time.time()
    uid = json.loads(made.proxy.Prepare(json.dumps({"script": script, "user": "Zoë €"})))["id"]
    assert requests_since(made.proxy, began)[0]["user"] == "Zoë €"
    made.proxy.Stop(json.dumps({"process_uid": uid, "user": "someone else"}))
    assert [(item["command"], item["user"]) for item in requests_since(made.proxy, began, 2)] == [
        ("Stop", "someone else"),
        ("Prepare", "Zoë €"),
    ]


@pytest.mark.parametrize(
    ("command", "argument", "reason"),
    [
        ("Prepare", "file://no-such-script.py", "OET_ScriptNotFound"),
        ("Prepare", "{broken", "OET_InvalidArgument"),
        ("Run", "file:///etc/passwd", "OET_NotAllowed"),
        ("Start", "987654", "OET_UnknownProcedure"),
        ("Stop", "987654", "OET_UnknownProcedure"),
        ("Stop", str(2**59), "OET_UnknownProcedure"),
    ],
)
def test_a_refusal(made, command, argument, reason):
    began = time.time()
    with pytest.raises(tango.DevFailed, match=reason):
        made.proxy.command_inout(command, argument)
    (request,) = requests_since(made.proxy, began)
    assert request["command"] == command
    assert request["answer"].startswith(f"{reason}: ")
    assert request["process_uid"] == (int(argument) if argument.isdigit() else 0)


@pytest.mark.parametrize("number", [2**63, 10**30, -(2**70)])
def test_a_number_that_no_database_can_keep(made, number):
    for command in ("Start", "Stop", "Output"):
        with pytest.raises(tango.DevFailed, match="OET_InvalidArgument"):
            made.proxy.command_inout(command, json.dumps({"process_uid": number}))
    with pytest.raises(tango.DevFailed, match="OET_InvalidArgument"):
        made.proxy.Requests(json.dumps({"before": number}))


def test_pages_are_newest_first_and_whole(made):
    began = time.time()
    for number in range(7):
        with pytest.raises(tango.DevFailed):
            made.proxy.Stop(str(900_000 + number))
    assert requests_since(made.proxy, began, 7)
    found: list[dict] = []
    while True:
        before = found[-1]["number"] if found else 0
        page = json.loads(made.proxy.Requests(json.dumps({"before": before, "limit": 3})))
        if not page:
            break
        found += page
    numbers = [item["number"] for item in found]
    assert numbers == list(range(numbers[0], 0, -1))
    assert [item["process_uid"] for item in found[:7]] == [900_006 - n for n in range(7)]


def test_the_flag_and_the_override_are_kept_too(made):
    began = time.time()
    made.proxy.waitForQaReady = True
    made.proxy.OverrideWaitForQaReady()
    newest = requests_since(made.proxy, began, 2)
    assert [item["command"] for item in newest] == ["OverrideWaitForQaReady", "waitForQaReady"]


@pytest.mark.parametrize("argument", ["x", '{"limit": 0}', '{"limit": 1001}', '{"before": -1}', '{"what": 1}'])
def test_a_wrong_request_for_requests(made, argument):
    with pytest.raises(tango.DevFailed, match="OET_InvalidArgument"):
        made.proxy.Requests(argument)


def test_texts_of_a_megabyte_leave_a_line_or_two(made):
    name = "x" * 900_000
    began = time.time()
    for argument in (
        json.dumps({"process_uid": 987654, "user": name}),
        json.dumps({"process_uid": 987654, name: 1}),
        json.dumps({"process_uid": 987654, "fn_name": name}),
        f"file://{name}",
        f"file://{'/a' * 100_000}",
        name,
    ):
        for command in ("Prepare", "Run", "Start", "Stop"):
            with pytest.raises(tango.DevFailed) as refused:
                made.proxy.command_inout(command, argument)
            assert len(refused.value.args[0].desc) < 2500
    assert max(len(json.dumps(item)) for item in requests_since(made.proxy, began, 24)) < 1600


def test_a_flood_of_refusals_is_counted_and_what_is_done_is_kept(made):
    for _ in range(300):
        with pytest.raises(tango.DevFailed):
            made.proxy.Stop("987654")
    uid = made.oet.prepare("quick.py")
    for _ in range(20):
        made.oet.stop(uid)

    def told() -> list[dict]:
        newest = json.loads(made.proxy.Requests('{"limit": 400}'))
        written = {(item["command"], item["process_uid"]) for item in newest}
        return newest if {("Stop", uid), ("(many)", 0)} <= written else []

    found = wait_until(told, 20, "the history has all of it")
    assert sum(item["command"] == "Stop" and item["process_uid"] == uid for item in found) >= 1
    assert next(item["process_uid"] for item in found if item["command"] == "Prepare") == uid
    many = [item for item in found if item["command"] == "(many)"]
    assert many[0]["answer"].split(" more requests since ")[0].isdecimal()
    assert len(found) < 300


def test_more_ids_than_can_be_told_at_once_are_refused(made):
    with pytest.raises(tango.DevFailed, match="OET_TooLarge"):
        made.proxy.Summarise(range(1, 100_001))
    uid = made.oet.prepare("quick.py")
    assert len(json.loads(made.proxy.Summarise([uid] * 250))) == 250
    made.oet.stop(uid)
