"""A whole small Tango system on this machine: database, device server, simulated mount.

Everything listens on 127.0.0.1 only, at free ports, keeps its files in one private temporary
folder, and is gone afterwards.  Belongs to the main thread of its program.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import psutil
import tango

from ..files import remove_tree
from ._interrupts import Interrupted, Interrupts

DEVICE = "mid-oet/subarray/01"
MOUNT = "sim/mount/1"

_PATIENCE = 60.0  # seconds for a server to answer; under a second where nothing else is going on
_GRACE = 15.0  # seconds for a server to end; scripts get their grace period in it
_SHOWN_LINES = 15

# A server whose starter was killed with SIGKILL ends by itself: it asks the kernel for SIGTERM then.
# What lies in the folder that somebody starts us in is not imported; Python 3.10 has no option for that.
_PYTHON = [sys.executable, *(["-P"] if sys.version_info >= (3, 11) else [])]
_START = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15); os.execv(sys.executable, sys.argv[1:])"


_T = TypeVar("_T")


class StackError(Exception):
    """The servers could not be started, or did not end as they should."""


@dataclass(frozen=True)
class _Server:
    name: str
    process: subprocess.Popen[bytes]
    log: Path


class Stack:
    """Context manager: the servers run inside, and nothing of them is left outside.

    :param interrupts: what may cut the waiting short
    """

    def __init__(self, interrupts: Interrupts) -> None:
        self._interrupts = interrupts
        self._servers: list[_Server] = []
        self._seen: set[psutil.Process] = set()
        self.folder = Path()
        self.tango_host = ""

    @property
    def device(self) -> str:
        """The full name of the device that executes scripts."""
        return f"tango://{self.tango_host}/{DEVICE}"

    @property
    def mount(self) -> str:
        """The full name of the simulated mount."""
        return f"tango://{self.tango_host}/{MOUNT}"

    # -- up

    def __enter__(self) -> Stack:
        self.folder = Path(tempfile.mkdtemp(prefix="ska-oet-"))
        try:
            self._start_database()
            self._register()
            for module, name in (
                ("ska_oet_device.simulators.mount", "SimulatedMount"),
                ("ska_oet_device", "OetDevice"),
            ):
                self._start(name, ["-m", module, "01", "-ORBendPoint", "giop:tcp:127.0.0.1:0"])
            self._wait(lambda: answers(self.mount), f"{self.mount} answers")
            self._wait(lambda: answers(self.device), f"{self.device} answers")
        except BaseException:  # whatever it was, nothing may stay behind
            self._end()
            raise
        return self

    def _start_database(self) -> None:
        server = self._start(
            "PyDatabaseds",
            ["-m", "databaseds.database", "--host", "127.0.0.1", "--port", "0", "--print-host-port", "2"],
            PYTANGO_DATABASE_NAME=str(self.folder / "tango.db"),
        )
        port = self._wait(lambda: re.search(r"port=(\d+)", server.log.read_text()), "the database has a port").group(1)
        self.tango_host = f"127.0.0.1:{port}"
        self._wait(self._database, "the database answers")

    def _database(self) -> tango.Database | None:
        host, port = self.tango_host.split(":")
        try:
            return tango.Database(host, int(port))
        except tango.DevFailed:
            return None

    def _register(self) -> None:
        database = self._database()
        assert database is not None
        for server, class_name, device in (
            ("OetDevice/01", "OetDevice", DEVICE),
            ("SimulatedMount/01", "SimulatedMount", MOUNT),
        ):
            info = tango.DbDevInfo()
            info.server, info._class, info.name = server, class_name, device
            database.add_device(info)
        database.put_device_property(
            DEVICE, {"AbortScript": "file://abort.py", "StateDirectory": str(self.folder / "state")}
        )

    def _start(self, name: str, arguments: list[str], **variables: str) -> _Server:
        self._interrupts.check()
        log = self.folder / f"{name}.log"
        environment = {
            **os.environ,
            "TANGO_HOST": self.tango_host or "127.0.0.1:0",
            "STATE_DIRECTORY": str(self.folder / "state"),
            **variables,
        }
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*_PYTHON, "-c", _START, *_PYTHON, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # Ctrl-C is for this program, which ends the servers in order
            )
        server = _Server(name, process, log)
        self._servers.append(server)
        return server

    def _wait(self, condition: Callable[[], _T | None], what: str) -> _T:
        deadline = time.monotonic() + _PATIENCE
        while True:
            self.check()
            value = condition()
            if value:
                return value
            if time.monotonic() > deadline:
                raise StackError(f"not within {_PATIENCE:g} s: {what}\n{self._last_lines(self._servers[-1])}")
            time.sleep(0.02)

    # -- while it runs

    def check(self) -> None:
        """Make sure that all goes on.

        :raises Interrupted: a signal has come
        :raises StackError: a server has ended by itself
        """
        self._interrupts.check()
        for server in self._servers:
            if server.process.poll() is not None:
                code = server.process.returncode
                raise StackError(f"{server.name} has ended with status {code}\n{self._last_lines(server)}")

    def logs(self) -> dict[str, Path]:
        """Return where each server writes its log."""
        return {server.name: server.log for server in self._servers}

    @staticmethod
    def _last_lines(server: _Server) -> str:
        lines = server.log.read_text(errors="replace").splitlines()[-_SHOWN_LINES:]
        return "\n".join([f"The last lines of {server.name}:", *lines])

    # -- down

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        complaints = self._end()
        if complaints and (error is None or isinstance(error, Interrupted)):
            raise StackError("; ".join(complaints))

    def _end(self) -> list[str]:
        """End the servers, those that need others first, and remove the folder; returns what went wrong."""
        complaints = []
        self._look_around()
        for server in reversed(self._servers):
            process = server.process
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(_GRACE)
                except subprocess.TimeoutExpired:
                    complaints.append(f"{server.name} had to be killed")
                    process.kill()
                    process.wait()
            if process.returncode not in (0, -signal.SIGTERM):
                complaints.append(f"{server.name} ended with status {process.returncode}")
        for orphan in self.left_processes():
            complaints.append(f"process {orphan.pid} was left behind")
            orphan.kill()
        psutil.wait_procs(self._seen, timeout=_GRACE)
        self._servers.clear()
        remove_tree(self.folder)
        return complaints

    def left_processes(self) -> list[psutil.Process]:
        """Return the living processes that the servers are or have started; none, once it has ended."""
        self._look_around()
        return [process for process in self._seen if _lives(process)]

    def _look_around(self) -> None:
        """Note the processes of the servers, and those that have left their tree but bear their mark."""
        for server in self._servers:
            try:
                root = psutil.Process(server.process.pid)
                self._seen.update([root, *root.children(recursive=True)])
            except psutil.NoSuchProcess:
                continue
        self._seen.update(_processes_with(str(self.folder)))


def explain(error: StackError | tango.DevFailed) -> str:
    """Return what went wrong as one text; a DevFailed alone would print as a table."""
    return str(error.args[0].desc) if isinstance(error, tango.DevFailed) else str(error)


def answers(name: str) -> bool:
    """Say whether a device answers, and its server's admin device, too: that may be later, and takes subscriptions."""
    try:
        proxy = tango.DeviceProxy(name)
        tango.DeviceProxy(proxy.adm_name()).ping()
        return bool(proxy.state() != tango.DevState.INIT)
    except tango.DevFailed:
        return False


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _processes_with(folder: str) -> list[psutil.Process]:
    """Return the processes that were given the folder in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("STATE_DIRECTORY", "").startswith(folder):
                found.append(process)
        except psutil.Error:  # somebody else's, or gone
            continue
    return found
