"""The server program: how it is started, what its exit status says, and that nothing of it is left."""

import contextlib
import json
import os
import signal
import sys
import time

import pytest
import tango
from support.ports import free_port
from support.tango_server import SCRIPTS, Oet, Server, is_alive
from support.waiting import wait_until

BIND = "giop:tcp:127.0.0.1:0"


def _busy(oet, tmp_path):
    """Have every kind of script there is; returns the ids of processes that must be gone afterwards."""
    path = tmp_path / "daemon"
    oet.running("leaves_daemon.py", str(path), "sleep", True)
    wait_until(path.exists, 10, "the daemon")
    oet.ready("good.py")
    hanging = oet.prepare("hangs_at_import.py")
    oet.recorder.wait_for_state(hanging, "LOADING")
    return [int(path.read_text()), *[process.pid for process in oet.server.tree()]]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_main_ends_scripts_and_server_with_status_zero(own_server, tmp_path, signum):
    oet = own_server()
    pids = _busy(oet, tmp_path)
    assert oet.server.stop(signum) == 0
    assert not any(map(is_alive, pids))
    _everything_was_recorded(oet)


def _everything_was_recorded(oet):
    assert "nobody has recorded" not in oet.server.log_text()
    assert list(oet.server.log.parent.rglob("unheard-*")) == []


def test_scripts_are_ended_with_grace_and_their_end_is_told(own_server, tmp_path):
    oet = own_server(StopGracePeriod=5)
    path = tmp_path / "tidied"
    uid = oet.armed("sleepy.py", str(path), fn="tidy")
    assert oet.server.stop() == 0
    assert path.read_text() == "tidied"
    assert oet.recorder.wait_for_state(uid, "STOPPED")["reason"] == "the server was shut down"


def test_a_second_signal_does_not_wait_for_the_grace_period(own_server):
    oet = own_server(StopGracePeriod=60)
    oet.armed("deaf.py")
    before = oet.server.tree()
    os.kill(oet.server.pid, signal.SIGTERM)
    wait_until(lambda: not oet.server.has_ended and len(oet.server.workers()) == 1)
    os.kill(oet.server.pid, signal.SIGINT)
    assert oet.server.wait() == 0
    wait_until(lambda: not oet.server.leftovers(before), 20, "nothing is left")


def test_a_second_signal_is_the_reason_that_a_killed_script_has(own_server):
    oet = own_server(StopGracePeriod=60)
    uid = oet.armed("deaf.py")
    os.kill(oet.server.pid, signal.SIGTERM)
    # The kernel makes one of two signals of a kind that nobody has taken yet.
    wait_until(lambda: "the server was asked to end" in oet.server.log_text(), what="main has the first one")
    os.kill(oet.server.pid, signal.SIGTERM)
    assert oet.server.wait() == 0
    reason = oet.recorder.wait_for_state(uid, "STOPPED")["reason"]
    assert reason == "the server was shut down; the server was told to end at once: the process was killed"


def test_the_admin_devices_kill_ends_everything_with_status_zero(own_server, tmp_path):
    oet = own_server()
    pids = _busy(oet, tmp_path)
    admin = tango.DeviceProxy(f"tango://{oet.database.host}/dserver/OetDevice/{oet.name.rsplit('/', 1)[-1]}")
    with contextlib.suppress(tango.DevFailed):  # it may be gone before it has answered
        admin.Kill()
    assert oet.server.wait() == 0
    wait_until(lambda: not any(map(is_alive, pids)), 20, "nothing is left")
    _everything_was_recorded(oet)


def test_sixteen_idle_devices_do_not_wait_for_each_other_when_they_end(database, tmp_path):
    names = [f"mid-oet/subarray/many-{number:02}" for number in range(1, 17)]
    database.add_server("many", {name: {"ScriptRoots": [SCRIPTS], "SubarrayId": 1} for name in names})
    server = Server(["many", "-ORBendPoint", BIND], tmp_path, database.host)
    try:
        oet = Oet(database, names[-1], server)
        oet.recorder.wait_for_end(oet.run("good.py"))
        oet.close()
        began = time.monotonic()
        with contextlib.suppress(tango.DevFailed):
            tango.DeviceProxy(f"tango://{database.host}/dserver/OetDevice/many").Kill()
        assert server.wait() == 0
        assert "it is killed" not in server.log_text()  # as is what does not end within 5 s
        assert time.monotonic() - began < 15  # 0.15 s on a quiet machine
        assert "nobody has recorded" not in server.log_text()
    finally:
        server.clean_up()


def test_python_dash_m_is_the_same_program(own_server):
    oet = own_server(command=[sys.executable, "-m", "ska_oet_device"])
    uid = oet.run("good.py")
    assert oet.recorder.wait_for_end(uid)["state"] == "COMPLETE"
    assert oet.server.stop() == 0


def test_it_runs_without_a_database(tmp_path):
    port = free_port()
    arguments = ["nodb", "-nodb", "-dlist", "mid-oet/subarray/01", "-ORBendPoint", f"giop:tcp:127.0.0.1:{port}"]
    server = Server(arguments, tmp_path, None)
    try:
        oet = Oet(None, "mid-oet/subarray/01", server, f"tango://127.0.0.1:{port}/mid-oet/subarray/01#dbase=no")
        with pytest.raises(tango.DevFailed, match="OET_NotAllowed"):
            oet.prepare(f"{SCRIPTS}/../scripts/good.py".replace(str(SCRIPTS.parent), "file://" + str(SCRIPTS.parent)))
        assert json.loads(oet.proxy.Summarise([])) == []
        assert oet.proxy.healthState.name == "OK"
        uid = oet.ready("hello.py")
        name, _, number = oet.summary(uid)["uri"].rpartition("#")
        assert int(number) == uid
        assert tango.DeviceProxy(name).activeProcedureId == uid
        oet.close()
        assert server.stop() == 0
    finally:
        server.clean_up()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python has no option for it")
def test_what_lies_in_the_folder_it_is_started_in_is_not_imported(database, tmp_path):
    for name in ("random", "packaging", "ctypes"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('of the folder')\n")
    name = "mid-oet/subarray/elsewhere"
    database.add_server("elsewhere", {name: {"ScriptRoots": [SCRIPTS], "SubarrayId": 7}})
    server = Server(["elsewhere", "-ORBendPoint", BIND], tmp_path, database.host)
    try:
        oet = Oet(database, name, server)
        uid = oet.run("imports.py", "random", "packaging", "ctypes")
        assert oet.recorder.wait_for_end(uid)["state"] == "COMPLETE"
        oet.close()
        assert server.stop() == 0
    finally:
        server.clean_up()


def test_an_unknown_instance_exits_with_a_status_that_is_not_zero(database, tmp_path):
    server = Server(["nobody-registered-me", "-ORBendPoint", BIND], tmp_path, database.host)
    try:
        assert server.wait(60) not in (0, None)
        assert server.leftovers([]) == []
    finally:
        server.clean_up()


def test_a_database_that_cannot_be_reached_gives_a_status_that_is_not_zero(tmp_path):
    port = free_port()
    server = Server(["01", "-ORBendPoint", BIND], tmp_path, f"127.0.0.1:{port}")
    try:
        assert server.wait(60) not in (0, None)
        assert server.leftovers([]) == []
    finally:
        server.clean_up()


@pytest.mark.timeout(180)
def test_a_second_server_of_the_same_name_is_refused_and_the_first_goes_on(oet, database, tmp_path):
    second = Server(["shared", "-ORBendPoint", BIND], tmp_path, database.host)
    try:
        assert second.wait(60) not in (0, None)
    finally:
        second.clean_up()
    uid = oet.run("good.py")
    assert oet.recorder.wait_for_end(uid)["state"] == "COMPLETE"
