"""Nothing that a property says keeps the device from serving, and what is wrong with it is told until it is mended."""

import contextlib
import json
import os
import re
import signal

import pytest
import tango
from support.databases import make_database
from support.ports import free_port
from support.processes import suspend
from support.tango_server import SCRIPTS, Oet, Server
from support.waiting import wait_until

BIND = ["-ORBendPoint", "giop:tcp:127.0.0.1:0"]
ALARM, FAULT, ON, RUNNING = tango.DevState.ALARM, tango.DevState.FAULT, tango.DevState.ON, tango.DevState.RUNNING

BAD = {
    "StopGracePeriod": ("5 s", "a number of seconds from 0 to 2,000,000"),
    "RunTimeout": ("nan", "a number of seconds"),
    "MaxProcedures": (0, "a whole number from 1 to 10,000"),
    "SpareWorkers": (1000, "a whole number from 0 to 64"),
    "HistoryLength": ("many", "a whole number from 0 to 100,000"),
    "MaxMemory": ("a lot", "a size"),
    "SubarrayId": (["1", "2"], "has 2 values"),
    "ScriptRoots": (["scripts"], "an absolute path"),
    "GitRepositories": (["gitlab"], "what a repository's URL begins with"),
    "Preload": (["a-b"], "the name of a module"),
    "AlarmOnFailure": ("perhaps", "true or false"),
    "OetCompatibility": ("perhaps", "true or false"),
    "HistoryUrl": ("nonsense", "the URL of a database"),
    "StateDirectory": ("state", "an absolute path"),
    "AbortScript": ("\u0444\u4e2d", "the URI of a script"),
    "GitTokenFile": ("x" * 60_000, "an absolute path"),
}


def _serves(oet):
    """Prepare, start and stop, and have all events of it."""
    uid = oet.running("sleepy.py")
    oet.stop(uid)
    assert oet.recorder.wait_for_end(uid)["state"] == "STOPPED"
    oet.settle()


def _is(oet, state):
    return lambda: oet.recorder.latest["State"] == state


def test_bad_values_are_told_of_and_change_nothing(oet):
    _serves(oet)  # Status tells a failure, of whatever test, until the next start
    before = oet.proxy.Status()
    with oet.properties(**{name: value for name, (value, _) in BAD.items()}):
        wait_until(_is(oet, ALARM), 20, "an event says ALARM")
        status = oet.proxy.Status()
        for name, (_, rule) in BAD.items():
            sentence = next(part for part in status.split("stays in use.") if f"Property {name}: " in part)
            assert rule in sentence, name
        _serves(oet)
        uid = oet.running("sleepy.py")
        assert oet.proxy.State() == ALARM
        assert f"Procedure {uid} is RUNNING" in oet.proxy.Status()
        oet.stop(uid)
        oet.recorder.wait_for_end(uid)
        oet.proxy.Init()  # the old settings stay, however often it is asked for
        assert oet.proxy.State() == ALARM
        _serves(oet)
    assert oet.proxy.State() == ON
    wait_until(lambda: oet.recorder.latest["Status"] == before, 20, "the Status is as it was")
    assert oet.recorder.errors() == []


def test_a_bad_value_keeps_the_setting_that_was_there(oet):
    with oet.properties(MaxProcedures=1):
        oet.ready("good.py")
        oet.database.put_properties(oet.name, {"MaxProcedures": "lots"})
        oet.init()
        assert "1 stays in use" in oet.proxy.Status()
        with pytest.raises(tango.DevFailed, match="MaxProcedures is 1"):
            oet.prepare("good.py")


def test_a_server_starts_with_bad_properties_and_with_those_of_its_class(database, own_server):
    database.tango.put_class_property("OetDevice", {"MaxProcedures": ["2"], "LoadTimeout": ["soon"]})
    try:
        oet = own_server(StopGracePeriod="5 s", HistoryUrl="nonsense", LoadTimeout=20, InitTimeout="soon")
        assert oet.proxy.State() == ALARM
        status = oet.proxy.Status()
        assert "Property StopGracePeriod: '5 s'" in status
        assert "Property InitTimeout: 'soon'" in status
        assert "LoadTimeout" not in status
        oet.ready("good.py")
        oet.ready("good.py")
        with pytest.raises(tango.DevFailed, match="MaxProcedures is 2"):
            oet.prepare("good.py")
        oet.tidy()
        _serves(oet)
    finally:
        database.tango.delete_class_property("OetDevice", ["MaxProcedures", "LoadTimeout"])


def test_a_property_file_goes_on_working(tmp_path):
    device = "mid-oet/subarray/03"
    lines = [f'OetDevice/file/DEVICE/OetDevice: "{device}"', f"{device}->ScriptRoots: {SCRIPTS}"]
    lines += [f"{device}->MaxProcedures: 1", f"{device}->LoadTimeout: soon"]
    (tmp_path / "properties.txt").write_text("\n".join(lines) + "\n")
    port = free_port()
    arguments = ["file", f"-file={tmp_path}/properties.txt", "-ORBendPoint", f"giop:tcp:127.0.0.1:{port}"]
    server = Server(arguments, tmp_path, None)
    try:
        oet = Oet(None, device, server, f"tango://127.0.0.1:{port}/{device}#dbase=no")
        assert "Property LoadTimeout: 'soon'" in oet.proxy.Status()
        uid = oet.ready("good.py")
        with pytest.raises(tango.DevFailed, match="MaxProcedures is 1"):
            oet.prepare("good.py")
        name, _, number = oet.summary(uid)["uri"].rpartition("#")
        assert int(number) == uid
        assert tango.DeviceProxy(name).activeProcedureId == uid
        oet.close()
        assert server.stop() == 0
    finally:
        server.clean_up()


# -- what the properties name


@pytest.mark.long
def test_an_abort_script_is_of_use_as_soon_as_it_is_there(oet, scratch):
    script = scratch / "comes_later.py"
    with oet.properties(AbortScript=f"file://{script}"):
        assert oet.proxy.State() == ALARM
        wait_until(_is(oet, ALARM), 20, "an event says so")
        assert "AbortScript is of no use" in oet.proxy.Status()
        script.write_text("def main():\n    pass\n")
        wait_until(_is(oet, ON), 20, "an event says ON")
        assert "AbortScript" not in oet.proxy.Status()
        script.write_text("def main(:\n")
        wait_until(_is(oet, ALARM), 20, "it is no Python any more")
        script.unlink()
        wait_until(lambda: "no file for" in oet.proxy.Status(), 20, "it is gone")


def test_a_folder_that_is_missing_is_alarm_and_none_at_all_is_fault(oet, tmp_path):
    late = tmp_path / "mounted later"
    with oet.properties(ScriptRoots=[SCRIPTS, late]):
        assert oet.proxy.State() == ALARM
        wait_until(_is(oet, ALARM), 20, "an event says so")
        assert f"there is no folder {late}." in oet.proxy.Status()
        _serves(oet)
        late.mkdir()
        wait_until(_is(oet, ON), 20, "it is there")
        late.rmdir()
        wait_until(_is(oet, ALARM), 20, "it is gone")
    with oet.properties(ScriptRoots=[late]):
        assert oet.proxy.State() == ALARM
        wait_until(_is(oet, ALARM), 20, "an event says so")
        assert "Only scripts from git can be run." in oet.proxy.Status()
        oet.database.put_properties(oet.name, {"GitRepositories": [""]})
        try:
            oet.init()
            assert oet.proxy.State() == FAULT
            assert oet.proxy.Status().startswith("No script can be run.")
            assert f"there is no folder {late}." in oet.proxy.Status()
        finally:
            oet.database.tango.delete_device_property(oet.name, "GitRepositories")
    assert oet.proxy.State() == ON


def test_a_token_file_that_is_not_there_is_told_of(oet, tmp_path):
    with oet.properties(GitTokenFile=tmp_path / "token"):
        assert oet.proxy.State() == ALARM
        wait_until(_is(oet, ALARM), 20, "an event says so")
        (tmp_path / "token").write_text("secret")
        wait_until(_is(oet, ON), 20, "it is there")


def test_what_is_read_at_the_start_only_is_told_of(oet, tmp_path):
    with oet.properties(StateDirectory=tmp_path):
        assert oet.proxy.State() == ON
        assert "StateDirectory takes effect when the server is started again." in oet.proxy.Status()
        _serves(oet)
        assert list(tmp_path.iterdir()) == []


# -- a database that is away, hangs, or fails


@pytest.fixture
def lonely(tmp_path):
    """A server with a database of its own, which can be broken."""
    database = make_database(tmp_path, lasting=True)
    name = "mid-oet/subarray/01"
    properties = {"ScriptRoots": [SCRIPTS], "StopGracePeriod": 3, "MaxProcedures": 3}
    database.add_server("lonely", {name: properties})
    server = Server(["lonely", *BIND], tmp_path / "server", database.host)
    try:
        oet = Oet(database, name, server)
        yield oet
        oet.close()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(database.pid, signal.SIGCONT)
        server.clean_up()
        database.stop()


def _limit(oet):
    """Return how many procedures the device lets live."""
    uids = []
    with pytest.raises(tango.DevFailed, match="MaxProcedures") as refused:
        uids += iter(lambda: oet.prepare("good.py"), None)
    for uid in uids:
        oet.stop(uid)
    for uid in uids:
        oet.recorder.wait_for_end(uid)
    return int(re.search(r"MaxProcedures is (\d+)", refused.value.args[0].desc)[1])


@pytest.mark.long
def test_init_while_the_database_is_away_or_hangs_keeps_the_settings_and_the_events(lonely):
    oet = lonely
    oet.database.put_properties(oet.name, {"MaxProcedures": 2})
    oet.database.stop()
    oet.proxy.Init()
    wait_until(_is(oet, ALARM), 20, "an event says ALARM")
    where = f"cannot be read from the Tango database at TANGO_HOST={oet.database.host} ("
    wait_until(lambda: f"{where}the connection is refused" in oet.proxy.Status(), 20, "Status has where, and why")
    _serves(oet)
    assert _limit(oet) == 3
    oet.database.kill_and_start_again()
    wait_until(_is(oet, ON), 20, "the database is there again")
    assert _limit(oet) == 2  # nobody has called Init again

    suspend(oet.database.pid)
    oet.proxy.set_timeout_millis(10_000)  # Init gives the database 2 s; who waits for it does so for 20 s and more
    oet.proxy.Init()  # within the client's time-out
    wait_until(_is(oet, ALARM), 20, "an event says ALARM")
    assert "has not answered" in oet.proxy.Status()
    for _ in range(3):  # and nothing else hangs with it
        _serves(oet)
    os.kill(oet.database.pid, signal.SIGCONT)
    oet.database.put_properties(oet.name, {"MaxProcedures": 1})
    wait_until(_is(oet, ON), 40, "the database answers again")
    oet.init()
    assert _limit(oet) == 1
    assert oet.recorder.errors() == []


@pytest.mark.long
def test_a_device_that_tango_has_lost_comes_back_with_the_database(lonely):
    oet = lonely
    uid = oet.running("sleepy.py")
    pid = oet.pid(uid)
    sequence = oet.proxy.lifecycleSequence
    admin = tango.DeviceProxy(oet.proxy.adm_name())
    oet.database.stop()
    with pytest.raises(tango.DevFailed, match="not available any more"):
        admin.DevRestart(oet.name)
    oet.database.kill_and_start_again()

    def is_back():
        with contextlib.suppress(tango.DevFailed):
            return tango.DeviceProxy(oet.url).state() == RUNNING
        return False

    wait_until(is_back, 30, "the device is there again")
    oet.reconnect()
    assert oet.pid(uid) == pid
    oet.stop(uid)
    assert oet.recorder.wait_for_end(uid)["state"] == "STOPPED"
    assert [event["sequence"] for event in json.loads(oet.proxy.LifecycleEvents(sequence))] == [sequence + 1]
