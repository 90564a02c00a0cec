"""The Tango database is away and the device server dies: scripts run on, and what happens is told afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tango
from support.databases import make_database
from support.processes import states_of_threads, suspend
from support.tango_server import SCRIPTS, Database, Oet, Server, is_alive, program
from support.waiting import wait_until

from .conftest import BIND, QUICK

pytestmark = [pytest.mark.long, pytest.mark.timeout(180)]


NAME = "mid-oet/subarray/01"
PROPERTIES = {"ScriptRoots": [SCRIPTS], "SubarrayId": 1, **QUICK}
WAITING = "the start waits for it"
IMPATIENT = (
    "import sys, ska_oet_device.main as m, ska_oet_device.procedure.supervision._device_server as keeper; "
    "keeper._CRASHES_IN_A_ROW, keeper._LONGEST_PAUSE = 1, 0.2; "
    "sys.exit(m.main(sys.argv[1:]))"
)


@pytest.fixture
def lasting(tmp_path: Path) -> Iterator[Database]:
    """A Tango database that keeps its content when it is killed."""
    database = make_database(tmp_path, lasting=True)
    database.add_server("01", {NAME: PROPERTIES})
    yield database
    with contextlib.suppress(ProcessLookupError):
        os.kill(database.pid, signal.SIGCONT)
    database.stop()


def _server(database: Database, tmp_path: Path, command: list[str] | None = None) -> tuple[Server, Oet]:
    server = Server(["01", *BIND], tmp_path / "server", database.host, command)
    try:
        return server, Oet(database, NAME, server)
    except BaseException:
        server.clean_up()
        raise


def _kill_device_server(server: Server) -> None:
    victim = server.device_server()
    victim.kill()
    wait_until(lambda: not is_alive(victim.pid), 20, "the device server is gone")


def _all_events(oet: Oet, uid: int) -> list[str]:
    return [event["state"] for event in json.loads(oet.proxy.LifecycleEvents(0)) if event["process_uid"] == uid]


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_scripts_run_on_until_the_database_is_back_and_nothing_is_lost(lasting, tmp_path, how):
    server, oet = _server(lasting, tmp_path)
    try:
        path = tmp_path / "said"
        ends = oet.ready("own_threads.py")
        oet.start(ends, str(path), 1.0)
        oet.recorder.wait_for_state(ends, "RUNNING")
        waits = oet.ready("good.py")
        pid, ending = oet.pid(waits), oet.pid(ends)
        _take_away(lasting, how)
        _kill_device_server(server)
        wait_until(lambda: WAITING in server.log_text(), 60, "the device server waits for the database")
        assert lasting.host in server.log_text()
        wait_until(path.exists, 10, "a script has ended")
        wait_until(lambda: len(server.workers()) == 1, 10, "its process is gone")
        assert is_alive(pid)
        wait_until(lambda: not Path(f"/proc/{ending}").exists(), 10, "main has reaped it")
        wait_until(lambda: states_of_threads(server.pid) == {"S"}, 10, "main has noted its end, and waits")
        back = time.time()
        _bring_back(lasting, how)
        oet.reconnect()
        assert server.log_text().count(WAITING) == 1
        assert (oet.state(waits), oet.pid(waits)) == ("READY", pid)
        assert _all_events(oet, ends)[-3:] == ["RUNNING", "READY", "COMPLETE"]
        assert oet.summary(ends)["history"]["process_states"][-1][1] < back, "told with its own time"
        oet.start(waits)
        assert oet.recorder.wait_for_end(waits)["state"] == "COMPLETE"
        oet.close()
        assert server.stop() == 0
    finally:
        server.clean_up()


def _take_away(database: Database, how: str) -> None:
    if how == "killed":
        database.stop()
    else:
        suspend(database.pid)


def _bring_back(database: Database, how: str) -> None:
    if how == "killed":
        database.kill_and_start_again()
    else:
        os.kill(database.pid, signal.SIGCONT)


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_a_device_that_serves_does_not_notice(lasting, tmp_path, how):
    server, oet = _server(lasting, tmp_path)
    try:
        lives, stops = oet.running("sleepy.py"), oet.ready("good.py")
        _take_away(lasting, how)
        flags = [False, True, False]
        for flag in flags:
            oet.proxy.waitForQaReady = flag
            assert oet.proxy.waitForQaReady == flag
        oet.stop(stops)
        oet.stop(lives)
        for uid in (lives, stops):
            assert oet.recorder.wait_for_end(uid)["state"] == "STOPPED"
        assert oet.recorder.wait_for_end(oet.run("good.py"))["state"] == "COMPLETE"
        assert json.loads(oet.proxy.History('{"limit": 1}'))[0]["state"] == "COMPLETE"
        assert oet.proxy.State() == tango.DevState.ON
        assert oet.recorder.errors() == []
        _bring_back(lasting, how)
        _is_found_by_somebody_new(lasting)
        wait_until(lambda: _kept_flag(lasting) == ["false"], 40, "the flag is kept when the database is back")
        oet.close()
        assert server.stop() == 0
    finally:
        server.clean_up()


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_what_was_written_meanwhile_holds_when_the_device_server_dies_before_the_database_is_back(
    lasting, tmp_path, how
):
    server, oet = _server(lasting, tmp_path)
    try:
        waits = oet.ready("good.py")  # main goes on for it
        oet.proxy.waitForQaReady = True
        wait_until(lambda: _kept_flag(lasting) == ["true"], 20, "the database has another value")
        _take_away(lasting, how)
        oet.proxy.waitForQaReady = False
        oet.proxy.adminMode = "OFFLINE"
        both = [{"waitForQaReady": "false", "adminMode": "1"}]
        wait_until(lambda: _set_aside(tmp_path) == both, 20, "a file has both: a write waits for it but a moment")
        _kill_device_server(server)
        wait_until(lambda: WAITING in server.log_text(), 60, "the device server waits for the database")
        _bring_back(lasting, how)
        oet.reconnect()
        assert (oet.proxy.waitForQaReady, oet.proxy.adminMode.name) == (False, "OFFLINE")
        assert oet.proxy.read_attribute("adminMode").w_value == oet.proxy.adminMode
        wait_until(lambda: _kept_flag(lasting) == ["false"], 40, "the flag is kept when the database is back")
        wait_until(lambda: _set_aside(tmp_path) == [], 20, "nothing is set aside any more")
        oet.stop(waits)
        assert oet.recorder.wait_for_end(waits)["state"] == "STOPPED"
        oet.close()
        assert server.stop() == 0
    finally:
        server.clean_up()


def _is_found_by_somebody_new(database: Database) -> None:
    """Have a process that has never spoken with the device ask the database where it is."""
    command = [program("oet"), "--device", NAME, "list"]
    environment = {**os.environ, "TANGO_HOST": database.host}

    def is_found() -> bool:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return done.returncode == 0 and "good.py" in done.stdout

    wait_until(is_found, 40, "a new client finds the device")


def _kept_flag(database: Database) -> list[str]:
    return database.kept(NAME, "waitForQaReady")


def _set_aside(folder: Path) -> list[dict[str, str]] | None:
    """Return what each device keeps in a file until the database takes it; None if one of them goes meanwhile."""
    with contextlib.suppress(FileNotFoundError):
        return [json.loads(path.read_text()) for path in folder.rglob("unkept.json")]
    return None


def test_nobody_waits_for_a_stop_while_a_write_waits_for_a_database_that_hangs(lasting, tmp_path):
    server, oet = _server(lasting, tmp_path)
    try:
        uid, writer = oet.running("sleepy.py"), tango.DeviceProxy(oet.url)
        writer.waitForQaReady = True  # whoever is connected needs the database no more
        suspend(lasting.pid)
        with ThreadPoolExecutor() as pool:
            writing = pool.submit(writer.write_attribute, "waitForQaReady", False)
            oet.stop(uid)
            assert oet.recorder.wait_for_end(uid)["state"] == "STOPPED"
            writing.result(10)
        oet.recorder.wait_for("waitForQaReady", lambda flag: not flag)
        os.kill(lasting.pid, signal.SIGCONT)
        wait_until(lambda: _kept_flag(lasting) == ["false"], 40, "the flag is kept when the database goes on")
        oet.close()
        assert server.stop() == 0
    finally:
        server.clean_up()


def test_a_server_that_is_ended_while_it_waits_ends_at_once_and_the_next_one_tells_the_truth(lasting, tmp_path):
    server, oet = _server(lasting, tmp_path)
    try:
        path = tmp_path / "said"
        lives, ends = oet.ready("good.py"), oet.ready("own_threads.py")
        oet.start(ends, str(path), 1.0)
        oet.recorder.wait_for_state(ends, "RUNNING")
        oet.close()
        lasting.stop()
        _kill_device_server(server)
        wait_until(lambda: WAITING in server.log_text(), 60, "the device server waits for the database")
        wait_until(path.exists, 10, "a script has ended")
        wait_until(lambda: len(server.workers()) == 1, 10, "its process is gone")
        assert server.stop(seconds=30) == 0
        assert "it is killed" not in server.log_text()  # as is what waits on for 5 s
        assert f"{NAME}#{lives} ended" in server.log_text()
        assert f"{NAME}#{ends} ended" in server.log_text()
    finally:
        server.clean_up()
    left = list((tmp_path / "server" / "state").glob("unheard-*.json"))
    assert len(left) == 1
    refused = Server(["01", *BIND], tmp_path / "server", lasting.host)  # one that cannot start loses nothing
    try:
        assert refused.wait() != 0
    finally:
        refused.clean_up()
    lasting.kill_and_start_again()
    server, oet = _server(lasting, tmp_path)
    try:
        ended = {summary["id"]: summary for summary in oet.summaries()}
        assert ended[ends]["state"] == "COMPLETE"
        assert ended[lives]["state"] == "STOPPED"
        assert ended[lives]["history"]["exit"]["reason"] == "the server was shut down"
        assert _all_events(oet, ends)[-3:] == ["RUNNING", "READY", "COMPLETE"]
        wait_until(lambda: not left[0].exists(), 10, "what is told is kept no more")
        oet.close()
        assert server.stop() == 0
    finally:
        server.clean_up()


def test_a_device_server_that_crashes_again_and_again_is_not_given_up_while_a_script_lives(lasting, tmp_path):
    """The database knows the server no more, so that Tango ends each start: "the device server is not defined"."""
    server, oet = _server(lasting, tmp_path, [sys.executable, "-c", IMPATIENT])
    try:
        uid = oet.ready("good.py")
        pid = oet.pid(uid)
        lasting.tango.delete_server("OetDevice/01")
        _kill_device_server(server)
        wait_until(lambda: server.log_text().count("it is started again") > 4, 85, "it has crashed several times")
        assert is_alive(pid)
        lasting.add_server("01", {NAME: PROPERTIES})
        oet.reconnect()
        assert (oet.state(uid), oet.pid(uid)) == ("READY", pid)
        oet.start(uid)
        assert oet.recorder.wait_for_end(uid)["state"] == "COMPLETE"
        oet.close()
        assert server.stop() == 0
    finally:
        server.clean_up()


def test_a_device_server_that_nobody_needs_is_given_up_after_some_crashes(lasting, tmp_path):
    server, oet = _server(lasting, tmp_path, [sys.executable, "-c", IMPATIENT])
    try:
        oet.close()
        lasting.tango.delete_server("OetDevice/01")
        _kill_device_server(server)
        assert server.wait(60) not in (0, None)
        assert "giving up" in server.log_text()
        assert server.leftovers([]) == []
    finally:
        server.clean_up()


@pytest.mark.parametrize("what", ["nobody", "deaf"])
def test_a_first_start_without_a_database_names_it_within_seconds(tmp_path, what):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if what == "deaf":
            listener.listen()
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        server = Server(["01", *BIND], tmp_path, host)
        try:
            assert server.wait(40) not in (0, None)
            assert f"could not start: the Tango database at TANGO_HOST={host} does not answer" in server.log_text()
            assert server.leftovers([]) == []
        finally:
            server.clean_up()


def test_a_port_that_is_in_use_is_named(tmp_path):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        end_point = f"giop:tcp:127.0.0.1:{port}"
        server = Server(["nodb", "-nodb", "-dlist", NAME, "-ORBendPoint", end_point], tmp_path, None)
        try:
            assert server.wait(60) not in (0, None)
            expected = (
                f"could not start: the server cannot listen at port {port} (-ORBendPoint {end_point}): Address already"
            )
            assert expected in server.log_text()
            assert "Traceback" not in server.log_text()
        finally:
            server.clean_up()
