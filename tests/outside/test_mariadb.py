"""The server with the Tango database that observatories have: DatabaseDS and MariaDB."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import tango
from support.durable import BIND, Station
from support.mariadb import MariaDatabase, why_not
from support.processes import suspend
from support.shell import OetCommand
from support.tango_server import Oet, Server
from support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def made(mariadb: MariaDatabase, scripts: Path, tmp_path: Path) -> Iterator[Station]:
    """A server that is not started yet."""
    station = Station(mariadb, "maria", tmp_path / "maria", {"ScriptRoots": [scripts]})
    yield station
    station.clean_up()


def test_properties_are_read_of_class_and_device_and_bad_ones_are_said(made, mariadb):
    mariadb.tango.put_class_property("OetDevice", {"MaxProcedures": ["1"]})
    mariadb.put_properties(made.device, {"StopGracePeriod": "5 s"})
    made.start()
    assert made.proxy.state() == tango.DevState.ALARM
    assert "Property StopGracePeriod: '5 s' is not a number of seconds" in made.proxy.status()
    made.oet.ready("waits.py")
    with pytest.raises(tango.DevFailed, match="MaxProcedures is 1"):
        made.oet.prepare("quick.py")
    mariadb.put_properties(made.device, {"StopGracePeriod": "0.5"})
    made.proxy.Init()
    wait_until(lambda: made.proxy.state() == tango.DevState.ON, 10, "State is ON")
    assert made.server.stop() == 0


def test_a_script_runs_on_while_the_database_is_killed_and_the_device_server_too(made, mariadb, tmp_path):
    made.start()
    uid = made.oet.ready("step.py", str(tmp_path))
    made.oet.start(uid)
    pid = made.wait_for(uid, "RUNNING")["os_pid"]
    mariadb._process.kill()
    mariadb._process.wait()
    old = made.server.device_server()
    old.kill()
    wait_until(lambda: made.server.device_server().pid != old.pid, 10, "another device server waits")
    mariadb.kill_and_start_again()
    wait_until(lambda: made._answers(old.pid), 30, "the device answers again")
    assert made.wait_for(uid, "RUNNING")["os_pid"] == pid
    made.proxy.Init()
    (tmp_path / "end").touch()
    made.wait_for(uid, "COMPLETE")
    made.oet.close()
    assert made.server.stop() == 0


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_scripts_and_clients_do_not_notice_that_mariadb_is_away_and_databaseds_is_not(made, mariadb, tmp_path, how):
    made.start()
    uid = made.oet.ready("step.py", str(tmp_path))
    made.oet.start(uid)
    made.wait_for(uid, "RUNNING")
    mariadb.put_properties(made.device, {"MaxProcedures": 1})
    if how == "killed":
        mariadb.server.kill()
    else:
        suspend(mariadb.server.pid)
    made.proxy.waitForQaReady = False
    made.proxy.Init()
    wait_until(lambda: made.proxy.state() == tango.DevState.ALARM, 20, "State says that the properties are not read")
    assert f"cannot be read from the Tango database at TANGO_HOST={mariadb.host} (" in made.proxy.status()
    if how == "killed":
        wait_until(lambda: "erver has gone away" in made.proxy.status(), 20, "Status says what is wrong with it")
    (tmp_path / "end").touch()
    made.wait_for(uid, "COMPLETE")
    made.wait_for(made.oet.run("quick.py"), "COMPLETE")
    if how == "killed":
        mariadb.server.start()
        mariadb.kill_and_start_again()  # Debian's finds no MariaDB again by itself
    else:
        os.kill(mariadb.server.pid, signal.SIGCONT)
    wait_until(lambda: made.proxy.state() == tango.DevState.ON, 60, "the properties have been read")
    wait_until(lambda: mariadb.kept(made.device, "waitForQaReady") == ["false"], 40, "the flag is kept")
    made.oet.ready("waits.py")
    with pytest.raises(tango.DevFailed, match="MaxProcedures is 1"):
        made.oet.prepare("quick.py")
    made.oet.close()
    assert made.server.stop() == 0


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("killed", "it fails: Failed to query TANGO database"),
        ("stopped", "timed out"),
        ("late", "has no Tango database"),
    ],
)
def test_a_first_start_waits_for_mariadb_behind_a_databaseds_that_answers(made, mariadb, tmp_path, how, said):
    if how == "late":
        mariadb.stop()
    if how == "stopped":
        suspend(mariadb.server.pid)
    else:
        mariadb.server.kill()
    if how == "late":
        mariadb.start_databaseds()
    server = Server([made.instance, *BIND, "--wait-for-database"], tmp_path / "first", mariadb.host)
    made.servers.append(server)

    def waits() -> bool:
        # Without MariaDB it ends after 5 s, before a server on a busy machine has asked it.
        if how == "late" and mariadb._process.poll() is not None:
            mariadb.start_databaseds()
        return said in server.log_text() and "the start waits for it" in server.log_text()

    wait_until(waits, 120, "it waits")
    if how == "stopped":
        os.kill(mariadb.server.pid, signal.SIGCONT)
    else:
        mariadb.server.start()
        mariadb.kill_and_start_again()
    made._oet = Oet(mariadb, made.device, server)
    made.wait_for(made.oet.run("quick.py"), "COMPLETE")
    made.oet.close()
    assert server.stop() == 0


def test_a_shell_is_told_that_the_database_fails_and_not_that_a_device_has_refused(mariadb):
    mariadb.add_server("told", {"mid-oet/told/01": {}})
    mariadb.server.kill()
    mariadb.server.start()  # which Debian's DatabaseDS does not notice
    done = OetCommand(mariadb.host)("-d", "mid-oet/told/01", "list")
    says = f"oet: the Tango database {mariadb.host} fails: Failed to query TANGO database (error=Server has gone away)"
    assert (done.status, done.err.strip()[: len(says)]) == (5, says)


_STARTS_ONE = """
from support.mariadb import MariaDbServer
server = MariaDbServer()
print(server.pid, server.folder, flush=True)
input()
"""


@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_a_mariadb_of_the_tests_ends_with_the_process_that_started_it_whatever_ended_that():
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", _STARTS_ONE]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as starter:
        try:
            pid, folder = starter.stdout.readline().split(maxsplit=1)
            mariadbd = psutil.Process(int(pid))
            assert (mariadbd.name(), mariadbd.username()) == ("mariadbd", "mysql")
        finally:
            starter.kill()
    try:
        wait_until(lambda: not mariadbd.is_running() or mariadbd.status() == "zombie", 60, "MariaDB has ended")
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            mariadbd.kill()
        shutil.rmtree(folder.strip())
