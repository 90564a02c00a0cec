"""Tango starts wrongly: the server notices, starts anew, and clients lose no event by it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import tango
from support import flawed_database
from support.databases import make_database
from support.tango_server import SCRIPTS, Database, Oet, Server
from support.waiting import wait_until

from .conftest import BIND

_NAME = "mid-oet/subarray/01"
_ANEW = "it starts anew"


def _flawed(tmp_path: Path, *flaw: str) -> Database:
    database = Database(tmp_path, command=[sys.executable, str(Path(flawed_database.__file__)), *flaw])
    database.add_server("01", {_NAME: {"ScriptRoots": [SCRIPTS]}})
    return database


def _queue_length(oet: Oet) -> int:
    admin = tango.DeviceProxy(f"tango://{oet.database.host}/dserver/OetDevice/01")
    return int(admin.ZmqEventSubscriptionChange([_NAME, "State", "info", "change", "6"])[0][2])


@pytest.mark.timeout(180)
def test_a_server_that_the_database_failed_at_its_start_starts_anew(tmp_path):
    database = _flawed(tmp_path, "silent")
    server = Server(["01", *BIND], tmp_path / "server", database.host)
    try:
        wait_until(lambda: _ANEW in server.log_text(), 60, "it finds out")
        wait_until(lambda: "it is started again" in server.log_text(), 60, "it has gone: until then it answers")
        oet = Oet(database, _NAME, server)
        oet.recorder.wait_for_end(oet.run("good.py"))
        assert _queue_length(oet) == 1000
        oet.close()
        assert server.log_text().count(_ANEW) == 1
        assert server.stop() == 0
    finally:
        server.clean_up()
        database.stop()


@pytest.mark.long
def test_a_server_at_which_somebody_subscribed_too_early_starts_anew(tmp_path):
    database = _flawed(tmp_path, "slow", str(tmp_path / "server" / "server.log"))
    server = Server(["01", *BIND], tmp_path / "server", database.host)
    try:
        oet = Oet(database, _NAME, server)  # it subscribes as soon as it can, until it can
        assert flawed_database.TOO_EARLY in server.log_text()
        oet.recorder.wait_for_end(oet.run("good.py"))
        oet.close()
        assert server.log_text().count(_ANEW) == 1
        assert "clients would look for events at 'tcp://127.0.0.1:'" in server.log_text()
        assert server.stop() == 0
    finally:
        server.clean_up()
        database.stop()


def test_the_length_that_the_observatory_has_set_is_the_right_one(tmp_path):
    database = make_database(tmp_path)
    database.tango.put_property("CtrlSystem", {"EventBufferHwm": ["7000"]})
    database.add_server("01", {_NAME: {"ScriptRoots": [SCRIPTS]}})
    server = Server(["01", *BIND], tmp_path / "server", database.host)
    try:
        oet = Oet(database, _NAME, server)
        oet.recorder.wait_for_end(oet.run("good.py"))
        assert _queue_length(oet) == 7000
        oet.close()
        assert _ANEW not in server.log_text()
        assert server.stop() == 0
    finally:
        server.clean_up()
        database.stop()
