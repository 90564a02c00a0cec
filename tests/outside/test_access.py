"""Tango's access control: whoever may only read may look and stop, with what tango-config/ says of the class."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
import tango
from support import access
from support.mariadb import MariaDatabase
from support.tango_server import SCRIPTS, Oet, Server, program, serving_registered
from support.waiting import wait_until

from ska_oet_device.site_files import CHANGERS_COMMANDS, READERS_COMMANDS

TAC = Path("/usr/lib/tango/TangoAccessControl")
CONFIG = Path(__file__).parents[2] / "tango-config" / "mid-oet.json"
NAME = "mid-oet/subarray/01"
REFUSED = "API_ReadOnlyMode"
# The columns of Debian's tables have no default, which MariaDB minds where it is strict.
REPAIR = "".join(
    f"ALTER TABLE {table} MODIFY updated TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP; "
    for table in ("access_address", "access_device")
)


def _control(database: MariaDatabase, log: IO[bytes], **more: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [str(TAC), "1", "-ORBendPoint", "giop:tcp:127.0.0.1:0"],
        env={**os.environ, **database.account, "TANGO_HOST": database.host, **more},
        stdout=log,
        stderr=log,
    )


def _answering(database: MariaDatabase, device: str) -> tango.DeviceProxy:
    def find() -> tango.DeviceProxy | None:
        try:
            proxy = tango.DeviceProxy(f"tango://{database.host}/{device}")
            proxy.ping()
        except tango.DevFailed:
            return None
        return proxy

    return wait_until(find, 30, f"{device} answers")


@pytest.fixture
def guarded(mariadb: MariaDatabase, tmp_path: Path) -> Iterator[MariaDatabase]:
    """A Tango database with access control, in which everybody may write, and the user nobody only read."""
    if not TAC.exists():
        pytest.skip("Debian's package tango-accesscontrol is not installed: tests/support/install_accesscontrol.sh")
    mariadb.server.sql(REPAIR, mariadb.name)
    with (tmp_path / "access.log").open("wb") as log:
        process = _control(mariadb, log)
    try:
        control = _answering(mariadb, "sys/access_control/1")
        control.AddAddressForUser([access.READER, "*.*.*.*"])
        control.AddDeviceForUser([access.READER, "*/*/*", "read"])
        control.RegisterService()
        yield mariadb
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def oet(guarded: MariaDatabase, tmp_path: Path) -> Iterator[Oet]:
    """The device as tango-config/ has it, but for its folders."""
    environment = {**os.environ, "TANGO_HOST": guarded.host, "TMPDIR": str(tmp_path)}  # it leaves a backup there
    loading = subprocess.run(
        [program("json2tango"), "--write", str(CONFIG)], env=environment, capture_output=True, text=True, check=False
    )
    assert loading.returncode == 2, f"json2tango says by 2 that it has changed something: {loading.stderr}"
    guarded.put_properties(NAME, {"ScriptRoots": [SCRIPTS], "StateDirectory": tmp_path / "state"})
    with serving_registered(guarded, "01", NAME, tmp_path / "server") as oet:
        yield oet


def _tries(oet: Oet, *options: str) -> dict[str, str]:
    """Return what became of all that somebody tries, who has never spoken with the device."""
    done = subprocess.run(
        [sys.executable, access.__file__, oet.url, *options],
        env={**os.environ, "TANGO_HOST": oet.database.host},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.timeout(180)
def test_whoever_may_only_read_may_look_and_stop_and_nothing_else(oet):
    running = oet.running("sleepy.py")
    found = _tries(oet, "--as-reader")
    assert oet.recorder.wait_for_end(running)["state"] == "STOPPED", "by StopActive, if by nothing before it"
    commands = {name.removeprefix("command "): what for name, what in found.items() if name.startswith("command ")}
    assert set(commands) == {*READERS_COMMANDS, *CHANGERS_COMMANDS}
    assert {name for name, what in commands.items() if what == REFUSED} == set(CHANGERS_COMMANDS)
    others = {name: what for name, what in found.items() if not name.startswith("command ")}
    writes = {name for name in others if name.startswith("write ")}
    assert {"write waitForQaReady", "write adminMode", "write selectedScript"} <= writes
    assert {name for name, what in others.items() if what == REFUSED} == writes
    assert {name: what for name, what in others.items() if what not in ("", REFUSED)} == {}
    assert found["subscribe"] == ""
    callers = {entry["client"] for entry in json.loads(oet.proxy.Requests("")) if entry["command"].startswith("Stop")}
    assert any(re.match(r"python.* pid \d+", client) for client in callers), callers


@pytest.mark.timeout(180)
def test_whoever_may_write_notices_nothing(oet):
    found = _tries(oet)
    assert [name for name, what in found.items() if what == REFUSED] == []
    assert oet.recorder.wait_for_end(oet.run("good.py"))["state"] == "COMPLETE"


LAST_WORDS = re.compile("Controlled Access Service|trying to retrieve properties for class DServer")


def _tries_to_start(database: MariaDatabase, folder: Path, *arguments: str) -> tuple[int, str]:
    server = Server(["01", "-ORBendPoint", "giop:tcp:127.0.0.1:0", *arguments], folder, database.host)
    try:
        return server.wait(60), server.log_text()
    finally:
        server.clean_up()


@pytest.mark.timeout(240)
def test_access_control_that_has_ended_locks_all_out_until_it_is_started_with_super_tango(mariadb, tmp_path):
    if not TAC.exists():
        pytest.skip("Debian's package tango-accesscontrol is not installed: tests/support/install_accesscontrol.sh")
    mariadb.server.sql(REPAIR, mariadb.name)
    mariadb.add_server("01", {NAME: {"ScriptRoots": [SCRIPTS], "StateDirectory": tmp_path / "state"}})
    started: list[subprocess.Popen[bytes]] = []
    with (tmp_path / "access.log").open("wb") as log:
        try:
            started.append(_control(mariadb, log, SUPER_TANGO="true"))
            _answering(mariadb, "sys/access_control/1").RegisterService()
            started[-1].terminate()
            assert started[-1].wait(20) == 0

            for number, arguments in enumerate([(), ("--wait-for-database",)]):
                status, text = _tries_to_start(mariadb, tmp_path / f"locked-{number}", *arguments)
                assert (status, bool(LAST_WORDS.search(text))) == (1, True), text
            started.append(_control(mariadb, log))
            started[-1].wait(30)
            assert LAST_WORDS.search((tmp_path / "access.log").read_text()), "it cannot enter itself into the database"

            started.append(_control(mariadb, log, SUPER_TANGO="true"))
            _answering(mariadb, "sys/access_control/1")
            _starts(mariadb, tmp_path / "rescued")
            started[-1].kill()
            started[-1].wait()

            switch_off = "import tango; tango.Database().unregister_service('AccessControl', 'tango')"
            environment = {**os.environ, "TANGO_HOST": mariadb.host, "SUPER_TANGO": "true"}
            subprocess.run([sys.executable, "-c", switch_off], env=environment, check=True, timeout=60)
            _starts(mariadb, tmp_path / "without")
        finally:
            for process in started:
                process.kill()
                process.wait()


def _starts(database: MariaDatabase, folder: Path) -> None:
    """Start a server and end it; its log tells: this process, as a client, has noticed access control for good."""
    server = Server(["01", "-ORBendPoint", "giop:tcp:127.0.0.1:0"], folder, database.host)
    try:
        wait_until(lambda: "the device server is ready" in server.log_text(), 60, "the server is ready")
        assert server.stop() == 0
    finally:
        server.clean_up()
