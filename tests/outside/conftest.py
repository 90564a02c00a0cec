"""The programs of other people that start, ask and watch this server: as they come, and in processes of their own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import tango
from support.databases import make_database
from support.tango_server import SCRIPTS, Database
from support.waiting import wait_until

STARTER = Path("/usr/lib/tango/Starter")
NAME = "mid-oet/subarray/01"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A Tango database that knows the server OetDevice/01, with one device."""
    database = make_database(tmp_path)
    database.add_server(
        "01", {NAME: {"ScriptRoots": [SCRIPTS], "SubarrayId": 1, "StateDirectory": str(tmp_path / "state")}}
    )
    yield database
    database.stop()


@dataclass
class Starter:
    """Tango's Starter, as its device answers."""

    proxy: tango.DeviceProxy
    tango_host: str
    process: subprocess.Popen[bytes]
    logs: Path


@pytest.fixture
def starter(database: Database, tmp_path: Path) -> Iterator[Starter]:
    """A Starter of this machine, which finds OetDevice where this interpreter's programs lie."""
    if not STARTER.exists():
        pytest.skip("Debian's package tango-starter is not installed: tests/support/install_starter.sh")
    host, logs = socket.gethostname().partition(".")[0], tmp_path / "logs"
    logs.mkdir()  # the Starter makes only the folder below
    device, info = f"tango/admin/{host}", tango.DbDevInfo()
    info.name, info._class, info.server = device, "Starter", f"Starter/{host}"
    database.tango.add_device(info)
    programs = str(Path(sys.executable).parent)
    database.put_properties(device, {"StartDsPath": programs, "LogFileHome": str(logs), "AutoRestartDuration": 0})
    with (tmp_path / "starter.log").open("wb") as log:
        process = subprocess.Popen(
            [str(STARTER), host, "-ORBendPoint", "giop:tcp:127.0.0.1:0"],
            env={**os.environ, "TANGO_HOST": database.host},
            cwd=tmp_path,
            stdout=log,
            stderr=log,
        )
    try:
        proxy = tango.DeviceProxy(f"tango://{database.host}/{device}")
        wait_until(lambda: _answers(proxy), 30, "the Starter answers")
        yield Starter(proxy, database.host, process, logs)
    finally:
        process.kill()
        process.wait()


def _answers(proxy: tango.DeviceProxy) -> bool:
    try:
        proxy.ping()
    except tango.DevFailed:
        return False
    return True
