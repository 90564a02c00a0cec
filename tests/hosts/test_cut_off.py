"""A host is cut off from all others while a script runs, and joined again."""

from __future__ import annotations

import time

import pytest
from support.outpost import PATIENCE, wait_for

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


def test_a_host_that_was_cut_off_is_found_again_with_all_that_happened_meanwhile(site, observatory, figure):
    one, client = site(), observatory.client
    server = one.start("host-a")
    before = [process.pid for process in (server.process, server.device_server())]
    client.ask("listen", device=one.device, attribute="State")
    client.ask("follow", device=one.device)
    uid = one.runs_on()
    wait_for(lambda: _heard(client, one)[-1:] == ["RUNNING"], what="the event of RUNNING")
    with observatory.network.without("host-a"):
        cut = time.time()
        wait_for(lambda: not one.state(), what="the device does not answer")
        figure("seconds until a command fails", round(time.time() - cut, 1))
        one.goes_on()
        wait_for(lambda: {"error": "API_EventTimeout"} in _heard(client, one), what="the subscription has failed")
        figure("seconds until a subscription fails", round(time.time() - cut, 1))
        (one.marks / "end").touch()
        wait_for(lambda: f"procedure {uid} is COMPLETE" in server.log_text(), what="the script ends, out of sight")
        assert not any(event["state"] == "COMPLETE" for event in client.ask("followed", device=one.device))
    joined = time.time()
    wait_for(
        lambda: [event["state"] for event in client.ask("followed", device=one.device)[-1:]] == ["COMPLETE"],
        what="the library knows the end",
    )
    figure("seconds until the library has what it missed", round(time.time() - joined, 1))
    wait_for(lambda: _heard(client, one)[-1:] == ["ON"], what="the mere subscription is back")
    figure("seconds until a mere subscription is back", round(time.time() - joined, 1))
    told = [event["sequence"] for event in one.events()]
    assert one.followed_by(client) == told
    _stop_works(one)
    assert [process.pid for process in (server.process, server.device_server())] == before


def test_a_client_whose_own_host_was_cut_off_has_missed_nothing(site, observatory, outpost, figure):
    one, client = site(), observatory.client
    one.start("host-b")
    client.ask("follow", device=one.device)
    inside = outpost("host-b")
    uid = one.runs_on()
    with observatory.network.without("clients"):
        (one.marks / "end").touch()
        wait_for(lambda: str(inside.ask("call", device=one.device, command="State")) == "ON", what="it has ended")
        for command, status in ((("list",), 5), (("health",), 1)):
            asked = time.time()
            assert observatory.shell("clients", "-d", one.device, *command, check=False).returncode == status
            figure(f"seconds until oet {' '.join(command)} gives up", round(time.time() - asked, 1))
    joined = time.time()
    one.wait_for(uid, "COMPLETE")
    figure("seconds until commands reach the device again", round(time.time() - joined, 1))
    one.wait_until_told(uid, "COMPLETE")
    told = [event["sequence"] for event in one.events()]
    wait_for(lambda: len(client.ask("followed", device=one.device)) >= len(told), what="the library has all")
    figure("seconds until the library has what it missed", round(time.time() - joined, 1))
    assert one.followed_by(client) == told


def test_a_device_whose_postgresql_was_cut_off_loses_nothing(site, observatory, figure):
    one = site(HistoryUrl=observatory.postgresql.url)
    one.start("host-c")
    before = one.run("good.py")
    one.wait_for(before, "COMPLETE")
    uid = one.runs_on()
    with observatory.network.without("store"):
        cut = time.time()
        wait_for(lambda: one.state() == "ALARM", what="State tells that the history is away")
        figure("seconds until State is ALARM", round(time.time() - cut, 1))
        assert "The history cannot be written" in one.status()
        one.goes_on()
        asked = time.time()
        meanwhile = one.run("good.py", fn="init")
        figure("seconds that Run took meanwhile", round(time.time() - asked, 2))
        one.wait_for(meanwhile, "READY")
        one.call("Stop", {"process_uid": meanwhile, "run_abort": False})
        one.wait_for(meanwhile, "STOPPED")
        (one.marks / "end").touch()
        one.wait_until_told(uid, "COMPLETE")
        told = one.events()
    joined = time.time()
    wait_for(lambda: one.state() == "ON", what="the history is back")
    figure("seconds until State is ON", round(time.time() - joined, 1))
    assert one.events() == told
    kept = observatory.postgresql.execute(
        f"SELECT sequence FROM lifecycle WHERE device LIKE '%{one.device}' ORDER BY sequence"
    )
    assert [sequence for (sequence,) in kept] == [event["sequence"] for event in told]
    assert {item["id"]: item["state"] for item in one.call("History", "")} == {
        before: "COMPLETE",
        uid: "COMPLETE",
        meanwhile: "STOPPED",
    }


def _heard(client, site):
    return [value for _, value in client.ask("heard", device=site.device, attribute="State")]


def _stop_works(site):
    uid = site.runs_on()
    site.call("Stop", {"process_uid": uid, "run_abort": False})
    site.wait_for(uid, "STOPPED", seconds=PATIENCE)
