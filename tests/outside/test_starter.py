"""Tango's own Starter: what it starts inherits a signal mask that blocks nearly everything."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import tango
from support.databases import make_database
from support.tango_server import SCRIPTS, Database, Oet, is_alive
from support.waiting import wait_until

from .conftest import NAME, Starter, own_host, running_starter

# A Starter takes any process of the machine that is called so for its own, also that of a test beside this one.
INSTANCE = f"starter-{os.getpid()}"
SERVER = f"OetDevice/{INSTANCE}"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A Tango database that knows the server, with one device."""
    database = make_database(tmp_path, lasting=True)
    properties = {"ScriptRoots": [SCRIPTS], "SubarrayId": 1, "StateDirectory": str(tmp_path / "state")}
    database.add_server(INSTANCE, {NAME: properties})
    yield database
    database.stop()


class Started:
    """The server as the Starter started it; the Starter alone knows its process."""

    def __init__(self, starter: Starter, main: int) -> None:
        self._starter = starter
        self.process = psutil.Process(main)

    @property
    def has_ended(self) -> bool:
        return not is_alive(self.process.pid)

    def log_text(self) -> str:
        return _text(self._starter.logs / "ds.log")

    def tree(self) -> list[int]:
        return [self.process.pid, *(child.pid for child in self.process.children(recursive=True))]


def _main_of(starter: Starter) -> int | None:
    """Return the process that the Starter has started: one whose command line names it."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if [Path(word).name for word in words[-2:]] == ["OetDevice", INSTANCE] and is_alive(process.pid):
            with contextlib.suppress(psutil.Error):
                if process.environ().get("TANGO_HOST") == starter.tango_host:
                    return process.pid
    return None


@pytest.fixture
def take_over(database: Database) -> Iterator[Callable[[Starter], Oet]]:
    """Return what finds the server that a Starter has started; whatever is left of it is killed in the end."""
    seen: list[int] = []

    def take_over(starter: Starter) -> Oet:
        main = wait_until(lambda: _main_of(starter), 60, "the Starter has started it")
        seen.append(main)
        oet = Oet(database, NAME, Started(starter, main))
        wait_until(lambda: _knows(starter), 20, "the Starter has seen that the server runs")
        return oet

    yield take_over
    for main in filter(is_alive, seen):
        os.kill(main, signal.SIGKILL)


@pytest.fixture
def start(starter: Starter, take_over: Callable[[Starter], Oet]) -> Callable[[], Oet]:
    """DevStart, and a client of the device."""

    def start() -> Oet:
        wait_until(lambda: _does_start(starter), 20, "the Starter has seen that no such server runs")
        return take_over(starter)

    return start


def _runs(oet: Oet) -> None:
    assert oet.recorder.wait_for_end(oet.run("good.py"))["state"] == "COMPLETE"
    sleeping = oet.running("sleepy.py")
    oet.stop(sleeping)
    assert oet.recorder.wait_for_end(sleeping)["state"] == "STOPPED"
    assert oet.summary(sleeping)["history"]["exit"]["signals_sent"] == ["SIGTERM"]


def test_scripts_complete_and_are_stopped_and_devstop_leaves_no_process(start, starter):
    oet = start()
    _runs(oet)
    lives = oet.running("sleepy.py")
    pids = oet.server.tree()
    assert oet.pid(lives) in pids
    starter.proxy.DevStop(SERVER)
    wait_until(lambda: not any(map(is_alive, pids)), 10, "nothing is left")
    oet.close()
    again = start()
    assert again.summary(lives)["history"]["exit"]["reason"] == "the server was shut down"
    _runs(again)
    again.close()


def test_after_hardkillserver_nothing_is_left_and_the_next_start_tells_the_truth(start, starter):
    oet = start()
    ended = oet.run("good.py")
    oet.recorder.wait_for_end(ended)
    lives, ready = oet.running("sleepy.py"), oet.ready("good.py")
    pids = oet.server.tree()
    starter.proxy.HardKillServer(SERVER)
    wait_until(lambda: not any(map(is_alive, pids)), 10, "nothing is left")
    oet.close()
    again = start()
    assert again.state(ended) == "COMPLETE"
    for uid, state in ((lives, "RUNNING"), (ready, "READY")):
        summary = again.summary(uid)
        assert summary["state"] == "FAILED"
        assert re.match(f"server restarted while the procedure was {state}", summary["history"]["exit"]["reason"])
    _runs(again)
    again.close()


def _be_controlled(database: Database, level: int) -> None:
    """Have the Starter of this machine look after the server, as Astor does: it is started at a level of its boot."""
    info = tango.DbServerInfo()
    info.name, info.host, info.mode, info.level = SERVER, own_host(), 1, level
    database.tango.put_server_info(info)


def test_a_starter_that_boots_starts_the_server_at_its_level(database, tmp_path, take_over):
    with running_starter(database, tmp_path) as starter:  # a Starter boots what has run on its machine before
        wait_until(lambda: _does_start(starter), 20, "the Starter has seen that no such server runs")
        oet = take_over(starter)
        oet.close()
        starter.proxy.DevStop(SERVER)
        wait_until(lambda: oet.server.has_ended, 20, "it has ended")
    _be_controlled(database, 2)
    with running_starter(database, tmp_path, NbStartupLevels=3) as starter:
        oet = take_over(starter)
        _runs(oet)
        oet.close()
        starter.proxy.DevStop(SERVER)
        wait_until(lambda: oet.server.has_ended, 20, "it has ended")


@pytest.mark.timeout(300)
def test_a_server_that_has_died_is_started_again_where_the_starter_is_told_so(database, tmp_path, take_over):
    """AutoRestartDuration is in minutes: a server must have lived for longer than that.

    After a HardKillServer it is started again, too (tried; each of these takes more than a minute).
    """
    with running_starter(database, tmp_path, AutoRestartDuration=1) as starter:
        wait_until(lambda: _does_start(starter), 20, "the Starter has seen that no such server runs")
        oet = take_over(starter)
        _be_controlled(database, 1)
        time.sleep(65)  # the Starter does not count from the server's start, but from when it has seen that it runs
        lives = oet.running("sleepy.py")  # which sleeps for a minute
        pids = oet.server.tree()
        os.kill(oet.server.process.pid, signal.SIGKILL)
        oet.close()
        wait_until(lambda: not any(map(is_alive, pids)), 10, "nothing is left")
        again = take_over(starter)
        assert again.summary(lives)["state"] == "FAILED"
        _runs(again)
        again.close()


@pytest.mark.parametrize("command", ["DevRestart", "RestartServer"])
def test_scripts_run_on_when_the_admin_device_restarts_device_or_server(start, command):
    oet = start()
    lives = oet.running("sleepy.py")
    pid = oet.pid(lives)
    admin = tango.DeviceProxy(f"tango://{oet.database.host}/dserver/{SERVER}")
    before = time.time()
    admin.command_inout(command, *([NAME] if command == "DevRestart" else []))
    # RestartServer answers before it is done: a device that is new pushes its health, with the time of that push.
    wait_until(lambda: oet.recorder.newest["healthState"].time > before, 30, "the device is a new one")
    wait_until(lambda: _state(oet, lives) == "RUNNING", 30, "the device answers again")
    oet.reconnect()
    assert oet.pid(lives) == pid
    oet.stop(lives)
    assert oet.recorder.wait_for_end(lives)["state"] == "STOPPED"
    oet.close()


def _state(oet: Oet, uid: int) -> str:
    try:
        return str(oet.state(uid))
    except tango.DevFailed:
        return ""


def test_scripts_run_on_without_the_starter_and_the_next_one_finds_the_server(database, tmp_path, take_over):
    with running_starter(database, tmp_path) as first:
        wait_until(lambda: _does_start(first), 20, "the Starter has seen that no such server runs")
        oet = take_over(first)
        lives = oet.running("sleepy.py")
    oet.proxy.ping()
    assert oet.state(lives) == "RUNNING"
    with running_starter(database, tmp_path) as second:
        wait_until(lambda: _knows(second), 20, "the next Starter has found it")
        oet.stop(lives)
        assert oet.recorder.wait_for_end(lives)["state"] == "STOPPED"
        oet.close()
        second.proxy.DevStop(SERVER)
        wait_until(lambda: oet.server.has_ended, 20, "it has ended")


def test_its_log_file_has_the_skas_format_and_the_levels_that_are_asked_for(start, database):
    database.put_properties(NAME, {"logging_level": "DEBUG"})
    oet = start()
    _runs(oet)
    wait_until(lambda: "|DEBUG|" in oet.server.log_text(), 20, "the property is the level from the start")
    admin = tango.DeviceProxy(f"tango://{oet.database.host}/dserver/{SERVER}")
    admin.SetLoggingLevel([[2], [NAME]])
    with contextlib.suppress(tango.DevFailed):
        oet.proxy.Start("555001")
    admin.SetLoggingLevel([[4], [NAME]])
    with contextlib.suppress(tango.DevFailed):
        oet.proxy.Start("555002")
    wait_until(lambda: "request Start(555002)" in oet.server.log_text(), 20, "INFO is logged again")
    assert "request Start(555001)" not in oet.server.log_text()
    lines = oet.server.log_text().splitlines()
    odd = [line for line in lines if line and not re.fullmatch(r"1\|[^|]*Z\|[A-Z]+(\|[^|]*){5}", line)]
    assert odd == []
    oet.close()


def test_a_server_that_the_starter_starts_waits_for_the_database_where_the_variable_says_so(
    database, tmp_path, take_over
):
    with running_starter(database, tmp_path, {"OET_WAIT_FOR_DATABASE": "forever"}) as starter:
        database.stop()
        wait_until(lambda: _does_start(starter), 20, "the Starter has seen that no such server runs")
        logs = starter.logs / "ds.log"
        wait_until(lambda: "the start waits for it" in _text(logs), 20, "its log says what it waits for")
        database.kill_and_start_again()
        oet = take_over(starter)
        _runs(oet)
        oet.close()
        starter.proxy.DevStop(SERVER)
        wait_until(lambda: oet.server.has_ended, 20, "it has ended")


def _text(folder: Path) -> str:
    return "".join(path.read_text(errors="replace") for path in folder.glob("OetDevice*.log"))


def _does_start(starter: Starter) -> bool:
    try:
        starter.proxy.DevStart(SERVER)
    except tango.DevFailed as failure:
        if failure.args[0].reason != "ALREADY_RUNNING":  # it looks every few seconds
            raise
        return False
    return True


def _knows(starter: Starter) -> bool:
    try:
        return SERVER in starter.proxy.DevGetRunningServers(True)
    except tango.DevFailed:
        return False


def test_a_variable_of_the_starter_keeps_its_servers_off_other_interfaces(database, tmp_path, take_over):
    with running_starter(database, tmp_path, {"ORBendPoint": "giop:tcp:127.0.0.1:"}) as starter:
        wait_until(lambda: _does_start(starter), 20, "the Starter has seen that no such server runs")
        oet = take_over(starter)  # and subscribes, for which ports are opened
        sockets = []
        for pid in oet.server.tree():
            with contextlib.suppress(psutil.NoSuchProcess):  # a spare may end meanwhile
                sockets += psutil.Process(pid).net_connections("inet")
        assert {each.laddr.ip for each in sockets if each.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
        oet.close()
        starter.proxy.DevStop(SERVER)
        wait_until(lambda: oet.server.has_ended, 20, "it has ended")
