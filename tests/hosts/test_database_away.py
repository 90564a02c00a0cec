"""The Tango database is stopped and started while scripts run: DatabaseDS, and the MariaDB under it."""

from __future__ import annotations

import time

import pytest
from support.outpost import RequestError, wait_for

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


def test_scripts_devices_and_clients_outlive_an_absence_of_the_database(site, observatory, outpost, figure):
    sites = [site(), site()]
    servers = [one.start(host) for one, host in zip(sites, ("host-a", "host-b"), strict=True)]
    client = observatory.client
    uids = [one.runs_on() for one in sites]
    for one in sites:
        client.ask("listen", device=one.device, attribute="lifecycleSequence")
        client.ask("follow", device=one.device)
    late = site()
    _see_that_all_goes_on(sites, client)  # so those that follow have their connections
    observatory.stop_database()
    try:
        _see_that_all_goes_on(sites, client)
        waiting = late.start("host-c", "--wait-for-database", waits=False)
        wait_for(lambda: "the start waits for it" in waiting.log_text(), what="the third server waits")
        with pytest.raises(RequestError):
            outpost("host-c").ask("read", device=sites[0].device, attribute="State")
    finally:
        observatory.start_database_again()
    back = time.time()
    wait_for(lambda: late.state() == "ON", what="the server that waited serves")
    figure("seconds until the server that waited serves", round(time.time() - back, 1))
    assert outpost("host-c").ask("call", device=sites[0].device, command="State") == "RUNNING"
    for one, uid, server in zip(sites, uids, servers, strict=True):
        assert one.summary(uid)["state"] == "RUNNING"
        (one.marks / "end").touch()
        one.wait_for(uid, "COMPLETE")
        _see_that_all_was_told(one, client, uid, "COMPLETE")
        _see_that_init_reads_the_properties(one)
        assert server.stop() == 0


def test_a_database_host_that_is_cut_off_and_joined_again_disturbs_nobody(site, observatory):
    one, client = site(), observatory.client
    one.start("host-a")
    client.ask("listen", device=one.device, attribute="lifecycleSequence")
    client.ask("follow", device=one.device)
    uid = one.runs_on()
    with observatory.network.without("database"):
        _see_that_all_goes_on([one], client)
        (one.marks / "end").touch()
        one.wait_for(uid, "COMPLETE")
    _see_that_all_was_told(one, client, uid, "COMPLETE")
    _see_that_init_reads_the_properties(one)


def _see_that_init_reads_the_properties(one):
    """What it cannot have read within 2 s is read later; State is ALARM until then."""
    one.call("Init")
    wait_for(lambda: one.state() == "ON", what="State is ON")


def _see_that_all_goes_on(sites, client):
    """Commands, events and Stop of clients that are connected."""
    for one in sites:
        one.goes_on()
        uid = one.run("waits.py")  # it gets no turn
        one.wait_for(uid, "READY")
        one.call("Stop", {"process_uid": uid, "run_abort": False})
        one.wait_for(uid, "STOPPED")
        _see_that_all_was_told(one, client, uid, "STOPPED")


def _see_that_all_was_told(one, client, uid, state):
    one.wait_until_told(uid, state)
    told = [event["sequence"] for event in one.events()]

    def heard() -> list[int]:
        return [value for _, value in client.ask("heard", device=one.device, attribute="lifecycleSequence")]

    wait_for(lambda: told[-1] in heard(), what="a mere subscription has the newest event")
    wait_for(lambda: one.followed_by(client)[-1:] == told[-1:], what="the library has it")
    followed = one.followed_by(client)
    assert followed == told[-len(followed) :]
