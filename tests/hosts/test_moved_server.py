"""A device that moves to a server on another host, as planned and otherwise; its history is in PostgreSQL."""

from __future__ import annotations

import time

import pytest
from support.outpost import RequestError, wait_for

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


def test_a_device_that_moves_takes_its_history_along(site, observatory, figure):
    one, client = site(HistoryUrl=observatory.postgresql.url), observatory.client
    first = one.start("host-a")
    client.ask("listen", device=one.device, attribute="lifecycleSequence")
    client.ask("follow", device=one.device)
    old = one.run("good.py")
    one.wait_until_told(old, "COMPLETE")
    summary, told, requests = one.summary(old), one.events(), one.call("Requests", "")
    assert first.stop() == 0
    moved = time.time()
    one.start("host-b")
    assert one.summary(old) == summary
    assert one.events() == told
    assert one.call("Requests", "") == requests
    assert [item["id"] for item in one.call("History", "")] == [old]
    new = one.run("good.py")
    assert new == old + 1
    one.wait_for(new, "COMPLETE")
    _see_that_it_is_followed(one, client, new, moved, figure)


def test_what_ran_on_a_host_that_has_died_is_told_by_the_next_one(site, observatory, figure):
    one, client = site(HistoryUrl=observatory.postgresql.url), observatory.client
    one.start("host-c")
    client.ask("listen", device=one.device, attribute="lifecycleSequence")
    client.ask("follow", device=one.device)
    uid = one.runs_on()
    observatory.network["host-c"].turn_off()
    try:
        died = time.time()
        one.start("host-b")
        figure("seconds from the death of a host to the start on another one", round(time.time() - died, 1))
        exit = one.wait_for(uid, "FAILED")["history"]["exit"]
        assert exit["reason"] == "server restarted while the procedure was RUNNING; it ran on host host-c"
        new = one.run("good.py")
        assert new == uid + 1
        one.wait_for(new, "COMPLETE")
        _see_that_it_is_followed(one, client, new, died, figure)
    finally:
        observatory.turn_on_again("host-c")


def test_a_host_that_comes_back_after_its_device_was_taken_over_is_in_alarm_and_drives_nothing_new(
    site, observatory, outpost, figure
):
    one = site(HistoryUrl=observatory.postgresql.url)
    first = one.start("host-a")
    inside = outpost("host-a")
    uid = one.runs_on()
    assert inside.ask("call", device=one.device, command="State") == "RUNNING"  # it knows where the first one is
    with observatory.network.without("host-a"):
        one.start("host-b")
        exit = one.wait_for(uid, "FAILED")["history"]["exit"]
        assert exit["reason"] == "server restarted while the procedure was RUNNING; it ran on host host-a"
    joined = time.time()

    def status_of_first() -> str:
        return str(inside.ask("call", device=one.device, command="Status"))

    wait_for(lambda: "taken over" in status_of_first(), what="the first one notices by its history")
    figure("seconds until the first one notices by its history", round(time.time() - joined, 1))
    wait_for(lambda: "The Tango database says" in status_of_first(), what="it notices by the Tango database")
    figure("seconds until the first one notices by the Tango database", round(time.time() - joined, 1))
    assert inside.ask("call", device=one.device, command="State") == "ALARM"
    assert "host-b" in status_of_first()
    with pytest.raises(Exception, match=r"OET_NotAllowed.*host-b"):
        inside.ask("call", device=one.device, command="Run", argument="file://good.py")
    one.goes_on()  # a person decides about what runs
    inside.ask("call", device=one.device, command="Stop", argument=str(uid))
    wait_for(lambda: f"procedure {uid} is STOPPED" in first.log_text(), what="Stop works there")
    assert one.summary(uid)["state"] == "FAILED"
    new = one.run("good.py")
    one.wait_for(new, "COMPLETE")
    assert first.stop() == 0
    # Its end has told the Tango database that nobody serves the device, since both have one name.
    newcomer = outpost("host-c")
    wait_for(lambda: _is_found_by(newcomer, one), 90, "who is new finds the second one")
    assert one.summary(new)["state"] == "COMPLETE"


def _is_found_by(client, one):
    try:
        return client.ask("call", device=one.device, command="State") == "ON"
    except RequestError:
        return False


def _see_that_it_is_followed(one, client, uid, since, figure):
    one.wait_until_told(uid, "COMPLETE")
    told = [event["sequence"] for event in one.events()]
    wait_for(lambda: one.followed_by(client)[-1:] == told[-1:], what="the library follows")
    figure("seconds until the library follows", round(time.time() - since, 1))
    followed = one.followed_by(client)
    assert followed == told[-len(followed) :]

    def heard() -> list[int]:
        return [value for _, value in client.ask("heard", device=one.device, attribute="lifecycleSequence")]

    wait_for(lambda: told[-1] in heard(), what="a mere subscription follows")
    figure("seconds until a mere subscription follows", round(time.time() - since, 1))
