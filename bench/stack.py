"""The servers under measurement, started as the tests start them: a Tango database, our server, the floor's."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import tango

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.ports import free_port  # noqa: E402 - found only now
from support.tango_server import Database, Server, program  # noqa: E402 - found only now
from support.waiting import wait_until  # noqa: E402

__all__ = [
    "BIND",
    "ROOT",
    "SCRIPTS",
    "Database",
    "Running",
    "Server",
    "Stack",
    "answers",
    "free_port",
    "program",
    "wait_until",
]

SCRIPTS = Path(__file__).parent / "scripts"
BIND = ["-ORBendPoint", "giop:tcp:127.0.0.1:0"]
_FLOOR = "bench/floor/1"


class Running:
    """One server of ours with its devices."""

    def __init__(self, server: Server, urls: list[str]) -> None:
        self.server, self.urls = server, urls
        self.main = psutil.Process(server.pid)

    @property
    def url(self) -> str:
        return self.urls[0]

    def titled(self, title: str) -> list[psutil.Process]:
        """Return main's children whose title begins so."""
        found = []
        for child in self.main.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if " ".join(child.cmdline()).startswith(title):
                    found.append(child)
        return found

    def wait_for_spares(self, count: int) -> None:
        """Wait until all spare workers are there and nothing is going on."""
        wait_until(lambda: len(self.titled("oet-spare")) == count, 30, f"{count} spares")


class Stack:
    """A Tango database in a folder of its own, in memory unless it is to last; a context manager."""

    def __init__(self, *, lasting: bool = False) -> None:
        self._lasting = lasting
        self._instances = 0
        self._exit = contextlib.ExitStack()

    def __enter__(self) -> Stack:
        self.folder = Path(self._exit.enter_context(tempfile.TemporaryDirectory(prefix="ska-oet-bench-")))
        self.database = Database(self.folder, lasting=self._lasting)
        self._exit.callback(self.database.stop)
        return self

    def __exit__(self, *exc: object) -> None:
        self._exit.close()

    @contextlib.contextmanager
    def server(self, devices: int = 1, folder: Path | None = None, **properties: Any) -> Iterator[Running]:
        """Run a server of ours; its properties are those of each of its devices."""
        self._instances += 1
        instance = f"bench{self._instances}"
        names = [f"mid-oet/{instance}/{number:02}" for number in range(1, devices + 1)]
        self.database.add_server(instance, {name: {"ScriptRoots": [SCRIPTS], **properties} for name in names})
        with self._running(instance, names, folder or self.folder / instance) as running:
            yield running

    @contextlib.contextmanager
    def server_again(self, name: str, folder: Path) -> Iterator[Running]:
        """Run a server with one device once more, on what it has left in a folder."""
        with self._running(name.split("/")[1], [name], folder) as running:
            yield running

    @contextlib.contextmanager
    def _running(self, instance: str, names: list[str], folder: Path) -> Iterator[Running]:
        server = Server([instance, *BIND], folder, self.database.host)
        try:
            running = Running(server, [f"tango://{self.database.host}/{name}" for name in names])
            for url in running.urls:
                wait_until(functools.partial(answers, url), 60, f"{url} answers")
            yield running
            server.stop()
        finally:
            server.clean_up()

    @contextlib.contextmanager
    def floor_server(self) -> Iterator[tango.DeviceProxy]:
        """Run the floor's device."""
        info = tango.DbDevInfo()
        info.name, info._class, info.server = _FLOOR, "FloorDevice", "FloorDevice/1"
        self.database.tango.add_device(info)
        with (self.folder / "floor.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "bench.floor_device", "1", *BIND],
                env={**os.environ, "TANGO_HOST": self.database.host},
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )
        try:
            url = f"tango://{self.database.host}/{_FLOOR}"
            wait_until(lambda: answers(url), 30, f"{url} answers")
            yield tango.DeviceProxy(url)
        finally:
            process.kill()
            process.wait()


def answers(url: str) -> bool:
    """Say whether a device answers, and is no longer being initialised."""
    try:
        proxy = tango.DeviceProxy(url)
        tango.DeviceProxy(proxy.adm_name()).ping()  # it may be later, and takes subscriptions
        return bool(proxy.state() != tango.DevState.INIT)
    except tango.DevFailed:
        time.sleep(0.02)
        return False
