"""The Tango database names another server for a device, or none: the server of the device notices."""

from __future__ import annotations

import signal
import struct

import pytest
import tango
from support.databases import make_database
from support.ports import free_port
from support.processes import suspend
from support.tango_server import SCRIPTS, Server, reason_of, serving_registered
from support.waiting import wait_until

from ska_oet_device.giop import reference_of

from .conftest import BIND

_NAME = "mid-oet/subarray/01"
_ANEW = "the server starts anew, and tells it"
pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]


@pytest.fixture
def oet(tmp_path):
    """A device of which the test may tell the database what it likes."""
    database = make_database(tmp_path)
    database.add_server("01", {_NAME: {"ScriptRoots": [SCRIPTS]}})
    try:
        with serving_registered(database, "01", _NAME, tmp_path / "server") as oet:
            yield oet
    finally:
        database.stop()


def _register(oet, server):
    info = tango.DbDevInfo()
    info.name, info._class, info.server = _NAME, "OetDevice", server
    oet.database.tango.add_device(info)


def _look_at_once(oet):
    """Have the server ask the database now, and not within half a minute."""
    oet.proxy.Init()


def _reference_with_port(ior, port):
    """Return a reference with another port in its first profile."""
    now = reference_of(ior)
    host = now.host.encode() + b"\0"
    behind = bytes(-(len(host)) % 2)  # a port is aligned
    old, new = (struct.pack("<I", len(host)) + host + behind + struct.pack("<H", each) for each in (now.port, port))
    assert old.hex() in ior
    return ior.replace(old.hex(), new.hex(), 1)


def _is_exported(oet):
    return bool(oet.database.tango.get_device_info(_NAME).exported)


def _is_found(oet, state):
    """Say whether a client that is new finds the device, in a state."""
    try:
        return tango.DeviceProxy(oet.url).state() == state
    except tango.DevFailed:
        return False


def test_a_device_that_the_database_has_forgotten_is_told_to_it_again_while_scripts_run(oet):
    uid = oet.running("sleepy.py", 60.0)
    oet.database.tango.unexport_device(_NAME)
    _look_at_once(oet)
    wait_until(lambda: _is_exported(oet), 60, "the database knows it again")
    wait_until(lambda: _is_found(oet, tango.DevState.RUNNING), 60, "who is new finds it")
    assert oet.summary(uid)["state"] == "RUNNING"
    oet.stop(uid, run_abort=False)


def test_a_database_that_names_a_process_that_has_gone_is_told_of_this_one_and_nothing_is_refused(oet):
    info = oet.database.tango.import_device(_NAME)
    export = tango.DbDevExportInfo()
    export.name, export.host, export.version, export.pid = _NAME, "elsewhere", str(info.version), 4711
    export.ior = _reference_with_port(info.ior, free_port())
    uid = oet.running("sleepy.py", 60.0)
    oet.database.tango.export_device(export)
    _look_at_once(oet)
    wait_until(lambda: _ANEW in oet.server.log_text(), 90, "the device server starts anew")
    assert "names process 4711 on host elsewhere" in oet.server.log_text()
    wait_until(lambda: _is_found(oet, tango.DevState.RUNNING), 60, "who is new finds it")
    assert oet.database.tango.get_device_info(_NAME).pid == oet.server.device_server().pid
    assert "OET_NotAllowed" not in oet.server.log_text()
    oet.stop(uid, run_abort=False)


def test_a_device_that_was_given_to_another_server_starts_nothing_and_says_so(oet):
    uid = oet.running("sleepy.py", 60.0)
    _register(oet, "OetDevice/other")
    _look_at_once(oet)
    wait_until(lambda: oet.proxy.state() == tango.DevState.ALARM, 60, "State is ALARM")
    said = f"The Tango database says that {_NAME} is a device of OetDevice/other, not of this server"
    assert said in oet.proxy.status()
    for request in (oet.prepare, oet.run):
        with pytest.raises(tango.DevFailed) as refusal:
            request("good.py")
        reason, text = reason_of(refusal.value)
        assert reason == "OET_NotAllowed"
        assert said in text
    assert oet.summary(uid)["state"] == "RUNNING"
    oet.stop(uid, run_abort=False)
    wait_until(lambda: oet.state(uid) == "STOPPED", 20, "Stop works")
    _register(oet, "OetDevice/01")
    _look_at_once(oet)
    wait_until(lambda: _is_exported(oet), 60, "it is told to the database again")
    wait_until(lambda: _is_found(oet, tango.DevState.ON), 60, "all is well again")
    oet.recorder.close()
    oet.reconnect()
    oet.recorder.wait_for_end(oet.run("good.py"))


def test_a_device_that_was_deleted_from_the_database_is_in_alarm_until_it_is_registered_again(oet):
    oet.database.tango.delete_device(_NAME)
    _look_at_once(oet)
    wait_until(lambda: oet.proxy.state() == tango.DevState.ALARM, 60, "State is ALARM")
    assert "The Tango database knows this device no more" in oet.proxy.status()
    _register(oet, "OetDevice/01")
    oet.database.put_properties(_NAME, {"ScriptRoots": [SCRIPTS]})
    wait_until(lambda: _is_exported(oet), 60, "it is told to the database again")
    wait_until(lambda: _is_found(oet, tango.DevState.ON), 60, "all is well again")


def test_a_second_server_ends_and_names_the_first_which_goes_on(oet, tmp_path):
    second = Server(["01", *BIND], tmp_path / "second", oet.database.host)
    try:
        assert second.wait(60) == 1
        assert f"{_NAME} is served by OetDevice/01 on host" in second.log_text()
        assert f"process {oet.server.device_server().pid}, 127.0.0.1:" in second.log_text()
    finally:
        second.clean_up()
    oet.recorder.wait_for_end(oet.run("good.py"))


def test_a_server_that_hangs_is_followed_by_a_second_one_and_says_so_when_it_goes_on(oet, tmp_path):
    first = [oet.server.process, oet.server.device_server()]
    for process in first:  # main, too: it kills a device server that hangs
        suspend(process.pid)
    second = Server(["01", *BIND], tmp_path / "second", oet.database.host)
    try:
        wait_until(lambda: "the device server is ready" in second.log_text(), 80, "the second one serves")
        for process in reversed(first):
            process.send_signal(signal.SIGCONT)
        said = f"The Tango database says that {_NAME} is served by process {second.device_server().pid} on host"
        wait_until(lambda: said in oet.server.log_text(), 80, "the first one says so")
        assert second.stop() == 0
        wait_until(lambda: _ANEW in oet.server.log_text(), 60, "the first one takes the device back")
        wait_until(lambda: _is_found(oet, tango.DevState.ON), 60, "it is found again")
    finally:
        second.clean_up()
