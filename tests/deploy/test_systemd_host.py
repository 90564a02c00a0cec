"""What the units in deploy/systemd say is what happens, under a systemd that is process 1 of a host."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import tango
from support.leaks import outlives_the_test
from support.ports import free_port
from support.systemd_host import USER, SystemdHost, systemd_host
from support.tango_server import Database, is_alive
from support.waiting import wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

UNIT, OTHER = "oet-device@s1.service", "oet-device@s2.service"
NAME, OTHER_NAME = "mid-oet/systemd/01", "mid-oet/systemd/02"

# What a script can do there: it looks at what the unit has made of its host, and cleans up when it is stopped.
_SCRIPT = """
import errno, os, subprocess, time

def _refusal(path):
    try:
        open(path, "w").close()
    except OSError as error:
        return errno.errorcode[error.errno]
    os.unlink(path)
    return ""

def main(seconds=0):
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    print("uid", os.getuid())
    print("no_new_privileges", status["NoNewPrivs"].strip())
    print("usr", _refusal("/usr/of-a-script"))
    print("tmp", _refusal("/tmp/of-a-script"), [name for name in os.listdir("/tmp") if not name.endswith("-oet")])
    print("home", os.access("/home", os.R_OK))
    child = subprocess.Popen(["sleep", "1000"])
    try:
        print("notify", os.environ.get("NOTIFY_SOCKET"))
        time.sleep(seconds)
    finally:
        time.sleep(0.5 if seconds else 0)
        print("its child", "lives" if child.poll() is None else "has ended")
        child.kill()
        print("cleaned up", flush=True)
"""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A Tango database that knows both servers; it comes back at the same port."""
    database = Database(tmp_path_factory.mktemp("database"), lasting=True)
    try:
        for unit, name in ((UNIT, NAME), (OTHER, OTHER_NAME)):
            instance = unit.removeprefix("oet-device@").removesuffix(".service")
            properties = {"ScriptRoots": ["/run/scripts"], "SubarrayId": 1, "StopGracePeriod": 10}
            database.add_server(instance, {name: properties})
        yield database
    finally:
        database.stop()


@pytest.fixture(scope="module")
def booted(database: Database) -> Iterator[SystemdHost]:
    with systemd_host(database.host) as host:
        host.run("mkdir", "-p", "/run/scripts")
        host.run("sh", "-c", f"cat >/run/scripts/looks.py <<'END'\n{_SCRIPT}\nEND")
        yield host


@pytest.fixture
def host(booted: SystemdHost) -> Iterator[SystemdHost]:
    """The host, without a server that runs."""
    yield booted
    booted.systemctl("stop", "oet-device@*.service")
    booted.systemctl("disable", UNIT, OTHER, "oet-device.target")


def device(database: Database, name: str = NAME) -> tango.DeviceProxy:
    return tango.DeviceProxy(f"tango://{database.host}/{name}")


def run(proxy: tango.DeviceProxy, **arguments: float) -> int:
    request = {
        "script": {"script_type": "filesystem", "script_uri": "file://looks.py"},
        "run_args": {"kwargs": arguments},
    }
    return int(json.loads(proxy.Run(json.dumps(request)))["id"])


def summary(proxy: tango.DeviceProxy, uid: int) -> dict:
    (found,) = json.loads(proxy.Summarise([uid]))
    return dict(found)


def output(proxy: tango.DeviceProxy, uid: int) -> str:
    return str(json.loads(proxy.Output(str(uid)))["text"])


def ended(proxy: tango.DeviceProxy, uid: int) -> dict:
    return wait_until(
        lambda: found if (found := summary(proxy, uid))["state"] in ("COMPLETE", "STOPPED", "FAILED") else None,
        60,
        f"procedure {uid} has ended",
    )


def running(proxy: tango.DeviceProxy) -> int:
    uid = run(proxy, seconds=600)
    wait_until(lambda: "notify" in output(proxy, uid), 60, "the script runs")
    return uid


def started(host: SystemdHost, *units: str) -> None:
    done = host.systemctl("start", *units)
    assert done.returncode == 0, done.stderr + host.systemctl("status", *units).stdout + host.log.read_text()[-3000:]


def test_start_returns_when_the_device_serves_and_its_scripts_are_confined(
    host: SystemdHost, database: Database
) -> None:
    started(host, UNIT)
    proxy = device(database)
    uid = run(proxy)  # at once
    assert ended(proxy, uid)["state"] == "COMPLETE"
    assert output(proxy, uid).splitlines() == [
        f"uid {USER}",
        "no_new_privileges 1",
        "usr EROFS",
        "tmp  []",
        "home False",
        "notify None",
        "its child lives",
        "cleaned up",
    ]
    assert host.shows(UNIT, "StatusText") == "the device serves"
    assert host.shows(UNIT, "Slice") == "oet.slice"
    listed = host.run("stat", "-c", "%a %U", "/var/lib/oet", "/var/lib/oet/history.sqlite3").stdout
    assert listed.splitlines()[0] == "700 oet"
    assert listed.splitlines()[1].endswith(" oet")


def test_stop_lets_a_script_clean_up_and_leaves_nothing(host: SystemdHost, database: Database) -> None:
    started(host, UNIT)
    uid = running(device(database))
    before = host.processes(UNIT)
    assert len(before) > 3
    assert host.systemctl("stop", UNIT).returncode == 0
    assert not any(map(is_alive, before))
    assert (host.shows(UNIT, "ActiveState"), host.shows(UNIT, "Result")) == ("inactive", "success")
    started(host, UNIT)
    proxy = device(database)
    found = summary(proxy, uid)
    assert (found["state"], found["history"]["exit"]["reason"]) == ("STOPPED", "the server was shut down")
    assert found["history"]["exit"]["signals_sent"] == ["SIGTERM"]
    assert output(proxy, uid).endswith("its child lives\ncleaned up\n")


def test_a_server_that_was_killed_is_started_again_and_tells_what_became_of_its_script(
    host: SystemdHost, database: Database
) -> None:
    started(host, UNIT)
    uid = running(device(database))
    before = host.processes(UNIT)
    (main,) = [pid for pid in before if b"/OetDevice\0" in command_line(pid)]
    os.kill(main, signal.SIGKILL)
    wait_until(lambda: host.shows(UNIT, "NRestarts") == "1", 60, "systemd starts it again")
    wait_until(lambda: host.shows(UNIT, "ActiveState") == "active", 60, "it serves again")
    assert not any(map(is_alive, before))
    assert summary(device(database), uid)["state"] == "FAILED"


def command_line(pid: int) -> bytes:
    """Return the command line of a process; nothing of one that has ended meanwhile."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def test_a_device_server_that_was_killed_is_mains_affair(host: SystemdHost, database: Database) -> None:
    started(host, UNIT)
    uid = running(device(database))
    (served,) = [pid for pid in host.processes(UNIT) if b"procedure.ui" in command_line(pid)]
    database.stop()  # so that what main tells of it stands until somebody has looked
    try:
        os.kill(served, signal.SIGKILL)
        wait_until(lambda: "waits for the Tango database" in host.shows(UNIT, "StatusText"), 60, "main tells of it")
        assert host.shows(UNIT, "ActiveState") == "active"
    finally:
        with outlives_the_test():
            database.kill_and_start_again()
    wait_until(lambda: host.shows(UNIT, "StatusText") == "the device serves", 60, "it serves again")
    assert summary(device(database), uid)["state"] == "RUNNING"
    assert host.shows(UNIT, "NRestarts") == "0"


def test_the_target_starts_and_ends_all_that_are_enabled_and_waits_for_none(
    host: SystemdHost, database: Database
) -> None:
    assert host.systemctl("enable", UNIT, OTHER, "oet-device.target").returncode == 0
    database.stop()
    try:
        assert host.systemctl("start", "oet-device.target", seconds=60).returncode == 0
        for unit in (UNIT, OTHER):
            wait_until(lambda: "waits for the Tango database" in host.shows(unit, "StatusText"), 30, unit)  # noqa: B023
            assert host.shows(unit, "ActiveState") == "activating"
    finally:
        with outlives_the_test():
            database.kill_and_start_again()
    for unit, name in ((UNIT, NAME), (OTHER, OTHER_NAME)):
        wait_until(lambda: host.shows(unit, "ActiveState") == "active", 60, f"{unit} serves")  # noqa: B023
        device(database, name).ping()
    pids = [*host.processes(UNIT), *host.processes(OTHER)]
    assert host.systemctl("stop", "oet-device.target").returncode == 0
    wait_until(lambda: not any(map(is_alive, pids)), 60, "all have ended with it")


def test_a_server_that_is_not_registered_fails_at_once_and_is_tried_again(host: SystemdHost) -> None:
    done = host.systemctl("start", "oet-device@unknown.service")
    assert done.returncode != 0
    wait_until(lambda: int(host.shows("oet-device@unknown.service", "NRestarts")) > 0, 30, "it is tried again")


def test_a_start_that_waits_for_the_database_can_be_ended(host: SystemdHost, database: Database) -> None:
    port = free_port()
    host.run("sh", "-c", f"echo TANGO_HOST=127.0.0.1:{port} >/etc/oet/oet-device@s2.env")
    try:
        start = threading.Thread(target=host.systemctl, args=("start", OTHER))
        start.start()
        wait_until(lambda: "waits" in host.shows(OTHER, "StatusText"), 30, "it waits")
        assert host.systemctl("stop", OTHER).returncode == 0
        start.join()
        assert (host.shows(OTHER, "ActiveState"), host.shows(OTHER, "Result")) == ("inactive", "success")
    finally:
        host.run("rm", "/etc/oet/oet-device@s2.env")
