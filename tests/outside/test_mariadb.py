"""The server with the Tango database that observatories have: DatabaseDS and MariaDB."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import tango
from support.durable import Station
from support.mariadb import MariaDatabase
from support.waiting import wait_until


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
