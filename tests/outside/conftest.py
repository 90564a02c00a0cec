"""The programs of other people that start, ask and watch this server: as they come, and in processes of their own."""

from __future__ import annotations

import contextlib
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
    with running_starter(database, tmp_path) as starter:
        yield starter


@contextlib.contextmanager
def running_starter(
    database: Database, folder: Path, environment: dict[str, str] | None = None, **properties: int
) -> Iterator[Starter]:
    """Run a Starter.

    :param folder: for its logs
    :param environment: which its servers inherit
    :param properties: those of its device
    """
    if not STARTER.exists():
        pytest.skip("Debian's package tango-starter is not installed: tests/support/install_starter.sh")
    host, logs = own_host(), folder / "logs"
    logs.mkdir(exist_ok=True)  # the Starter makes only the folder below
    device, info = f"tango/admin/{host}", tango.DbDevInfo()
    info.name, info._class, info.server = device, "Starter", f"Starter/{host}"
    database.tango.add_device(info)
    where = {"StartDsPath": str(Path(sys.executable).parent), "LogFileHome": str(logs)}
    database.put_properties(device, {**where, "AutoRestartDuration": 0, **properties})
    with (folder / "starter.log").open("ab") as log:
        process = subprocess.Popen(
            [str(STARTER), host, "-ORBendPoint", "giop:tcp:127.0.0.1:0"],
            env={**os.environ, "TANGO_HOST": database.host, **(environment or {})},
            cwd=folder,
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


def own_host() -> str:
    """Return this machine's name as a Starter has it."""
    return socket.gethostname().partition(".")[0]


def _answers(proxy: tango.DeviceProxy) -> bool:
    try:
        proxy.ping()
    except tango.DevFailed:
        return False
    return True
