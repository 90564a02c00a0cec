"""What was written to memorised attributes holds after a restart, and what was put beside us is looked at."""

from __future__ import annotations

import pytest
from support.tango_server import Database, Oet, Server
from support.waiting import wait_until

from .conftest import BIND

WRITTEN = {"waitForQaReady": (False, "false"), "adminMode": (2, "2")}


def _put(database: Database, oet: Oet, name: str, text: str) -> None:
    database.tango.put_device_attribute_property(oet.name, {name: {"__value": [text]}})


def _start_anew(oet: Oet, database: Database, folder) -> Server:
    assert oet.server.stop() == 0
    server = Server([oet.name.rsplit("/", 1)[-1], *BIND], folder, database.host)
    oet.server = server
    oet.reconnect()
    return server


@pytest.mark.long
def test_what_was_written_holds_after_a_restart_as_value_and_as_what_was_written(own_server, database, tmp_path):
    oet = own_server()
    for name, (value, text) in WRITTEN.items():
        oet.proxy.write_attribute(name, value)
        wait_until(lambda name=name, text=text: database.kept(oet.name, name) == [text], 20, f"{name} is kept")
    second = _start_anew(oet, database, tmp_path / "second")
    try:
        for name, (value, _) in WRITTEN.items():
            found = oet.proxy.read_attribute(name)
            assert (found.value, found.w_value) == (value, value), name
        assert second.stop() == 0
    finally:
        second.clean_up()


@pytest.mark.long
def test_what_cannot_be_a_value_is_not_taken_and_the_log_says_so(own_server, database, tmp_path):
    oet = own_server()
    before = {name: oet.proxy.read_attribute(name).value for name in WRITTEN}
    for name in WRITTEN:
        _put(database, oet, name, "nonsense")
    second = _start_anew(oet, database, tmp_path / "second")
    try:
        for name in WRITTEN:
            assert oet.proxy.read_attribute(name).value == before[name]
            line = f"what was kept for {name} is of no use"
            wait_until(lambda line=line: line in second.log_text(), 20, "the log says so")
        assert second.stop() == 0
    finally:
        second.clean_up()
