"""Two servers on two hosts claim the same device, though only one may serve it."""

from __future__ import annotations

import os
import subprocess
import time

import pytest
from support.observatory import Observatory
from support.outpost import wait_for
from support.tango_server import is_alive

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def observatory(tmp_path_factory, scripts, possible):
    """Two of its hosts, host-b and host-c, share the machine's processes, but no network."""
    observatory = Observatory(tmp_path_factory.mktemp("observatory"), scripts, sharing_pids=("host-b", "host-c"))
    yield observatory
    observatory.close()


@pytest.mark.parametrize("hosts", [("host-a", "host-b"), ("host-b", "host-c")], ids=["apart", "seeing each other"])
@pytest.mark.parametrize("shared", ["postgresql", "nothing"])
def test_the_second_server_for_a_device_ends_and_names_the_first(site, observatory, hosts, shared):
    one = site(**({"HistoryUrl": observatory.postgresql.url} if shared == "postgresql" else {}))
    first = one.start(hosts[0])
    uid = one.runs_on()
    before = _but_spares(first)
    second = one.start(hosts[1], waits=False)
    assert second.wait(60) == 1
    assert f"{one.device} is served by OetDevice/{one.instance} on host {hosts[0]} already" in second.log_text()
    assert "end that one first" in second.log_text()
    _see_that_it_is_undisturbed(one, uid, before)


def test_a_second_server_of_another_name_with_a_shared_history_ends_and_names_the_first(site, observatory):
    one = site(HistoryUrl=observatory.postgresql.url)
    first = one.start("host-a")
    uid = one.runs_on()
    before = _but_spares(first)
    one.register("other")
    try:
        second = one.start("host-b", waits=False, instance="other")
        assert second.wait(60) not in (0, None)
        assert "on host host-a, which is writing to it" in second.log_text()
    finally:
        one.register(one.instance)
    _see_that_it_is_undisturbed(one, uid, before)


def test_of_two_servers_that_share_nothing_the_first_one_notices_when_the_second_one_is_named(
    site, observatory, outpost, figure
):
    """Two devices, since it takes its time: one is taken while its host is cut off, one by another registration."""
    cut, moved = site(), site()
    firsts = [one.start("host-a") for one in (cut, moved)]
    inside = outpost("host-a")
    uids = [one.runs_on() for one in (cut, moved)]
    for one in (cut, moved):
        assert inside.ask("call", device=one.device, command="State") == "RUNNING"
    trees = [_but_spares(first) for first in firsts]
    moved.register("another")
    seconds = [moved.start("host-b", instance="another")]
    with observatory.network.without("host-a"):
        seconds.append(cut.start("host-b", state="host-b-cut"))
        assert cut.call("Summarise", []) == []
    joined = time.time()
    for one, uid, tree in zip((cut, moved), uids, trees, strict=True):
        _see_that_the_first_one_says_so(one, inside)
        figure(f"seconds until the first server of {one.device} notices", round(time.time() - joined, 1))
        one.goes_on()
        assert all(is_alive(process.pid) for process in tree)
        inside.ask("call", device=one.device, command="Stop", argument=str(uid))
        wait_for(
            lambda one=one: inside.ask("call", device=one.device, command="Summarise", argument=[1]).count(
                '"state": "STOPPED"'
            ),
            what="Stop works there",
        )
    new = cut.run("good.py")
    cut.wait_for(new, "COMPLETE")
    wait_for(lambda: cut.state() == "ON", what="State follows")


def test_a_first_server_takes_its_device_back_when_the_second_one_has_ended(site, observatory):
    one = site()
    first = one.start("host-a")
    uid = one.runs_on()
    with observatory.network.without("host-a"):
        second = one.start("host-b")
    assert second.stop() == 0
    wait_for(lambda: one.state() == "RUNNING", 90, what="the first one is found again")
    assert "the server starts anew, and tells it" in first.log_text()
    one.goes_on()
    one.call("Stop", str(uid))
    one.wait_for(uid, "STOPPED")


def test_who_takes_over_a_device_kills_nothing_of_a_host_that_is_cut_off_though_it_sees_it(site, observatory):
    one = site(HistoryUrl=observatory.postgresql.url)
    first = one.start("host-b")
    uid = one.runs_on()
    before = _but_spares(first)
    run_id = one.summary(uid)["run_id"]
    bystanders = [_alike(observatory.network[host], run_id) for host in ("host-b", "host-c")]
    try:
        with observatory.network.without("host-b"):
            one.start("host-c")
            reason = one.wait_for(uid, "FAILED")["history"]["exit"]["reason"]
            assert reason == "server restarted while the procedure was RUNNING; it ran on host host-b"
            one.goes_on()
        assert all(is_alive(process.pid) for process in before)
        assert all(each.poll() is None for each in bystanders)
    finally:
        for each in bystanders:
            each.kill()
            each.wait()


def _alike(host, run_id):
    """Start what has the mark of a run of the first server, and its title."""
    title = ["bash", "-c", f"exec -a 'oet-script {run_id}' sleep 300"]
    return subprocess.Popen([*host.within, *title], env={**os.environ, "SKA_OET_RUN_ID": run_id})


def _but_spares(server):
    """Return the processes of a server that are to stay: a spare is used up by a look at its health."""
    spares = server.spares()
    return [process for process in server.tree() if process not in spares]


def _see_that_the_first_one_says_so(one, inside):
    def status() -> str:
        return str(inside.ask("call", device=one.device, command="Status"))

    wait_for(lambda: "The Tango database says" in status(), 90, what="the first one notices")
    assert "host-b" in status()
    assert inside.ask("call", device=one.device, command="State") == "ALARM"
    with pytest.raises(Exception, match="OET_NotAllowed"):
        inside.ask("call", device=one.device, command="Run", argument="file://good.py")


def _see_that_it_is_undisturbed(one, uid, before):
    one.goes_on()
    assert one.summary(uid)["state"] == "RUNNING"
    assert all(is_alive(process.pid) for process in before)
    assert one.state() == "RUNNING"
    (one.marks / "end").touch()
    one.wait_for(uid, "COMPLETE")
