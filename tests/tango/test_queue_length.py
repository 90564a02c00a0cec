"""The Tango database fails while a server starts: clients lose no event by it, and can subscribe."""

from __future__ import annotations

import sys
from pathlib import Path

import tango
from support import flawed_database
from support.tango_server import SCRIPTS, Database, Oet, Server
from support.waiting import wait_until

from .conftest import BIND

_NAME = "mid-oet/subarray/01"
_ANEW = "it starts anew"


def _queue_length(oet: Oet) -> int:
    admin = tango.DeviceProxy(f"tango://{oet.database.host}/dserver/OetDevice/01")
    return int(admin.ZmqEventSubscriptionChange([_NAME, "State", "info", "change", "6"])[0][2])


def test_a_server_that_the_database_failed_at_its_start_starts_anew(tmp_path):
    database = Database(tmp_path, command=[sys.executable, str(Path(flawed_database.__file__))])
    database.add_server("01", {_NAME: {"ScriptRoots": [SCRIPTS]}})
    server = Server(["01", *BIND], tmp_path / "server", database.host)
    try:
        wait_until(lambda: _ANEW in server.log_text(), 20, "it finds out")
        oet = Oet(database, _NAME, server)
        assert _queue_length(oet) == 1000
        oet.recorder.wait_for_end(oet.run("good.py"))
        oet.close()
        assert server.log_text().count(_ANEW) == 1
        assert server.stop() == 0
    finally:
        server.clean_up()
        database.stop()


def test_the_length_that_the_observatory_has_set_is_the_right_one(tmp_path):
    database = Database(tmp_path)
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
