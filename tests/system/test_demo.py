"""The demonstration, and the servers kept for users, run as a user would run them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import tango
from support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)

UP = "ska_oet_device.client.up"
DEMO = "ska_oet_device.client.demo"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The home folder and the temporary folder of the user; whatever is left there has been left behind."""
    return tmp_path


class Program:
    """A running module, what it has printed, and every process it has ever been seen to have."""

    def __init__(self, process: subprocess.Popen[str], printed: Path) -> None:
        self.process = process
        self._printed = printed
        self._seen: set[psutil.Process] = set()

    @property
    def output(self) -> str:
        return self._printed.read_text()

    def tree(self) -> list[psutil.Process]:
        try:
            found = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            found = []
        self._seen.update(found)
        time.sleep(0.05)  # a look at all processes costs something, and those that are looked at need the processor
        return found

    def living(self) -> list[psutil.Process]:
        return [process for process in self._seen if process.is_running() and not _is_zombie(process)]

    def has_printed(self, pattern: str) -> re.Match[str]:
        def found() -> re.Match[str] | None:
            self.tree()
            assert self.process.poll() is None or re.search(pattern, self.output), self.output
            return re.search(pattern, self.output)

        return wait_until(found, 60, f"printed {pattern}")

    def ends_with(self, status: int) -> None:
        assert wait_until(lambda: self.tree() is None or self.process.poll() is not None, 60, "ends")
        assert self.process.returncode == status, self.output

    def leaves_no_process(self) -> None:
        assert len(self._seen) >= 5, "its processes were never seen"
        wait_until(lambda: not self.living(), 10, f"all of {self._seen} are gone")


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _arguments(process: psutil.Process) -> set[str]:
    """Return the words of a command line; none: the process has ended meanwhile."""
    try:
        return set(process.cmdline())
    except psutil.NoSuchProcess:
        return set()


@contextmanager
def running(module: str, home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    printed = tmp_path_factory.mktemp("printed") / "output"
    environment = {
        "HOME": str(home),
        "TMPDIR": str(home),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    with printed.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    program = Program(process, printed)
    try:
        yield program
    finally:
        program.tree()
        if process.poll() is None:
            process.kill()
        process.wait()
        for left in program.living():
            left.kill()


def test_the_demo_completes_a_scan_and_stops_another_one_and_leaves_nothing(
    home: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with running(DEMO, home, tmp_path_factory) as demo:
        demo.ends_with(0)
        for pattern in (r"1  COMPLETE", r"2  STOPPED", r"3  COMPLETE", r"none lost", r"are gone"):
            assert re.search(pattern, demo.output), demo.output
        demo.leaves_no_process()
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.long
def test_a_demo_that_is_interrupted_while_a_script_runs_leaves_nothing(
    number: signal.Signals, home: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with running(DEMO, home, tmp_path_factory) as demo:
        demo.has_printed(r"observing at position 1")
        demo.process.send_signal(number)
        demo.ends_with(128 + number)
        demo.leaves_no_process()
    assert list(home.iterdir()) == []


def test_a_demo_that_is_interrupted_while_it_starts_leaves_nothing(
    home: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with running(DEMO, home, tmp_path_factory) as demo:
        wait_until(demo.tree, what="the first server runs")
        demo.process.send_signal(signal.SIGTERM)
        demo.ends_with(128 + signal.SIGTERM)
        wait_until(lambda: not demo.living(), what="all gone")
    assert list(home.iterdir()) == []


@pytest.mark.long
def test_a_demo_that_is_killed_takes_its_servers_along(home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with running(DEMO, home, tmp_path_factory) as demo:
        demo.has_printed(r"observing at position 1")
        demo.process.kill()
        demo.ends_with(-signal.SIGKILL)
        demo.leaves_no_process()


@pytest.mark.long
def test_a_demo_whose_server_dies_fails_and_says_so(home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with running(DEMO, home, tmp_path_factory) as demo:
        demo.has_printed(r"observing at position 1")
        server = next(process for process in demo.tree() if {"ska_oet_device", "01"} <= _arguments(process))
        server.kill()
        demo.ends_with(1)
        assert "OetDevice has ended with status -9" in demo.output
        demo.leaves_no_process()
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_serves_until_it_is_told_to_end(
    number: signal.Signals, home: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with running(UP, home, tmp_path_factory) as up:
        host = up.has_printed(r"export TANGO_HOST=(127\.0\.0\.1:\d+)").group(1)
        up.has_printed(r"Ctrl-C ends it")
        device = tango.DeviceProxy(f"tango://{host}/mid-oet/subarray/01")
        summary = json.loads(device.Run("file://hello.py"))
        wait_until(lambda: json.loads(device.Summarise([summary["id"]]))[0]["state"] == "COMPLETE", what="COMPLETE")
        up.process.send_signal(number)
        up.ends_with(0)
        up.leaves_no_process()
    assert list(home.iterdir()) == []


@pytest.mark.long
def test_two_demonstrations_do_not_disturb_one_another(home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with running(UP, home, tmp_path_factory) as up, running(DEMO, home, tmp_path_factory) as demo:
        demo.ends_with(0)
        up.has_printed(r"Ctrl-C ends it")
        up.process.send_signal(signal.SIGINT)
        up.ends_with(0)
    assert list(home.iterdir()) == []
