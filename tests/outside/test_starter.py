"""Tango's own Starter: what it starts inherits a signal mask that blocks nearly everything."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import tango
from support.tango_server import Database, Oet, is_alive
from support.waiting import wait_until

from .conftest import NAME, Starter

SERVER = "OetDevice/01"


class Started:
    """The server as the Starter started it; the Starter alone knows its process."""

    def __init__(self, starter: Starter, main: int) -> None:
        self._starter = starter
        self.process = psutil.Process(main)

    @property
    def has_ended(self) -> bool:
        return not is_alive(self.process.pid)

    def log_text(self) -> str:
        return "".join(path.read_text(errors="replace") for path in self._starter.logs.rglob("*.log"))

    def tree(self) -> list[int]:
        return [self.process.pid, *(child.pid for child in self.process.children(recursive=True))]


def _main_of(starter: Starter) -> int | None:
    """Return the process that the Starter has started: one whose command line names OetDevice 01."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if [Path(word).name for word in words[-2:]] == ["OetDevice", "01"] and is_alive(process.pid):
            with contextlib.suppress(psutil.Error):
                if process.environ().get("TANGO_HOST") == starter.tango_host:
                    return process.pid
    return None


@pytest.fixture
def start(starter: Starter, database: Database) -> Callable[[], Oet]:
    """DevStart, and a client of the device; whatever is left of it is killed in the end."""
    seen: list[int] = []

    def start() -> Oet:
        wait_until(lambda: _does_start(starter), 20, "the Starter has seen that no such server runs")
        main = wait_until(lambda: _main_of(starter), 20, "the Starter has started it")
        seen.append(main)
        oet = Oet(database, NAME, Started(starter, main))
        wait_until(lambda: _knows(starter), 20, "the Starter has seen that the server runs")
        return oet

    yield start
    for main in filter(is_alive, seen):
        os.kill(main, signal.SIGKILL)


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
