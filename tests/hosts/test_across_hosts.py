"""Devices on three hosts, and clients on others: commands, events, and the shell."""

from __future__ import annotations

import json
import time

import pytest
from support.outpost import PATIENCE, wait_for

from ska_oet_device import __version__

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]
_HOSTS = ("host-a", "host-b", "host-c")
_ROUNDS = 8
_PATIENT = ("--timeout", "10")  # seconds: those for oet health begin with the start of Python


@pytest.fixture(scope="module")
def sites(observatory, tmp_path_factory):
    """Three devices, each on a host of its own."""
    made = [observatory.site(tmp_path_factory.mktemp("sites")) for _ in _HOSTS]
    for each, host in zip(made, _HOSTS, strict=True):
        each.start(host)
    yield made
    for each in made:
        each.clean_up()


def test_every_lifecycle_event_of_three_hosts_reaches_a_client_on_a_fourth_in_order(sites, observatory):
    client = observatory.client
    for site in sites:
        client.ask("listen", device=site.device, attribute="lifecycleSequence")
        client.ask("follow", device=site.device)
    for _ in range(_ROUNDS):
        uids = [site.run("good.py") for site in sites]
        for site, uid in zip(sites, uids, strict=True):
            site.wait_for(uid, "COMPLETE")
    for site in sites:
        _see_that_all_arrive(client, site)


def _see_that_all_arrive(client, site):
    told = [
        {"sequence": event["sequence"], "uid": event["process_uid"], "state": event["state"]} for event in site.events()
    ]
    assert [event["sequence"] for event in told] == list(range(1, len(told) + 1))
    wait_for(
        lambda: len(client.ask("followed", device=site.device)) >= len(told), PATIENCE, "the library has all events"
    )
    assert client.ask("followed", device=site.device)[: len(told)] == told

    def heard() -> list[int]:
        said = client.ask("heard", device=site.device, attribute="lifecycleSequence")
        return list(dict.fromkeys(value for _, value in said))  # what stands is pushed once more

    wait_for(lambda: heard()[-1] >= len(told), PATIENCE, "a mere DeviceProxy has heard the newest")
    assert heard()[1:][: len(told)] == [event["sequence"] for event in told]


@pytest.mark.parametrize("host", ["clients", "host-b"])
def test_the_shell_works_from_one_host_to_the_other(sites, observatory, host):
    for site in sites:
        done = observatory.shell(host, "-d", site.device, "run", "--follow", "prints_a_line.py")
        assert "COMPLETE" in done.stdout + done.stderr
        listed = observatory.shell(host, "-d", site.device, "--json", "list")
        assert "COMPLETE" in listed.stdout
        health = json.loads(observatory.shell(host, "health", *_PATIENT, "--json", site.device).stdout)
        assert "OK" in health.values()


def test_oet_fleet_shows_the_devices_of_all_hosts_with_what_they_do_and_where(sites, observatory):
    uid = sites[1].runs_on()
    done = observatory.shell("clients", "--json", "fleet", *_PATIENT, *(site.device for site in sites))
    shown = {item["device"]: item for item in map(json.loads, done.stdout.splitlines())}
    assert {item["host"]: item["state"] for item in shown.values()} == {
        "host-a": "ON",
        "host-b": "RUNNING",
        "host-c": "ON",
    }
    assert {item["health"] for item in shown.values()} == {"OK"}
    assert {item["version"] for item in shown.values()} == {__version__}
    (sites[1].marks / "end").touch()
    active = shown[sites[1].device]
    assert (active["procedure"], active["procedure_state"], active["script"]) == (uid, "RUNNING", "file://step.py")


def test_oet_fleet_tells_of_a_host_that_is_cut_off_and_of_the_others_all_the_same(sites, observatory):
    names = [site.device for site in sites]

    def shown() -> dict[str, dict]:
        done = observatory.shell("clients", "--json", "fleet", *_PATIENT, *names, check=False)
        assert done.returncode == 1
        return {item["device"]: item for item in map(json.loads, done.stdout.splitlines())}

    with observatory.network.without("host-c"):
        # Of what takes half a second longer than its time limit nothing is known, not even the host.
        found = wait_for(lambda: fleet if (fleet := shown())[names[2]]["host"] else None, what="its host is known")
    assert [found[name]["presence"] == "ANSWERS" for name in names] == [True, True, False]
    assert found[names[2]]["host"] == "host-c"


def test_what_a_device_says_of_its_clients_names_their_host(sites, observatory):
    uid = sites[0].run("good.py")
    (request,) = sites[0].summary(uid)["requested_by"]
    assert observatory.network["clients"].address in request["client"]


def test_no_port_of_a_server_is_open_but_at_the_address_of_its_host(sites, observatory):
    listening = observatory.network["host-a"].run("ss", "--listening", "--tcp", "--numeric", "--no-header").stdout
    places = {line.split()[3].rpartition(":")[0] for line in listening.splitlines()}
    assert places == {observatory.network["host-a"].address}


def test_a_host_whose_clock_is_an_hour_fast_can_be_followed(site, observatory, monkeypatch, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import time\n_time = time.time\ntime.time = lambda: _time() + 3600\n")
    fast = site()
    monkeypatch.setitem(observatory.environment, "PYTHONPATH", str(tmp_path))
    fast.start("host-a")
    monkeypatch.delitem(observatory.environment, "PYTHONPATH")
    observatory.client.ask("listen", device=fast.device, attribute="lifecycleSequence")
    observatory.client.ask("follow", device=fast.device)
    uid = fast.run("good.py")
    fast.wait_for(uid, "COMPLETE")
    _see_that_all_arrive(observatory.client, fast)
    assert fast.events()[-1]["time"] > time.time() + 3000
