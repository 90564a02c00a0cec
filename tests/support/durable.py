"""What the tests of durability need: a PostgreSQL of their own, a disk that gets full, and scripts."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import tango

from .leaks import outlives_the_test
from .ports import free_port
from .processes import suspend
from .tango_server import Database, Oet, Server, is_alive
from .waiting import wait_until

BIND = ["-ORBendPoint", "giop:tcp:127.0.0.1:0"]
QUICK = {"StopGracePeriod": 0.5, "LoadTimeout": 20, "InitTimeout": 20}
UNHURRIED = {"StopGracePeriod": 10}
"""For a script that must not be killed, however long a busy machine takes to tell it of a stop."""


# -- PostgreSQL


def _programs() -> Path | None:
    """Return the folder of the newest PostgreSQL that is installed; Debian keeps them off the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).parent if on_path else None


class PostgreSQL:
    """A PostgreSQL server with a folder and a port of its own; root runs it as the user postgres."""

    def __init__(self, within: Sequence[str] = (), address: str = "127.0.0.1", parent: Path | None = None) -> None:
        """Make the database; skips the test where PostgreSQL is not installed.

        :param within: what its command line begins with: that of another host, say
        :param address: where it listens; all who come from there, or from its neighbours, may do everything
        :param parent: the folder in which it makes its own; all users may enter it
        """
        self._within = list(within)
        self._address = address
        pytest.importorskip("psycopg")
        programs = _programs()
        if programs is None:
            pytest.skip("PostgreSQL is not installed: tests/support/install_postgresql.sh does that")
        self._programs = programs
        # Not pytest's folder: nobody but its owner may enter that.
        self._folder = Path(tempfile.mkdtemp(prefix="oet-postgresql-", dir=parent))
        self._folder.chmod(0o755)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.url = f"postgresql://postgres@{address}:{self.port}/postgres"
        # Its socket is reached from whichever host shares its files.
        self._own_url = f"postgresql://postgres@/postgres?host={self._folder}&port={self.port}"
        if os.getuid() == 0:
            shutil.chown(self._folder, "postgres", "postgres")
        arguments = ["-D", str(self._folder / "data"), "-A", "trust", "-U", "postgres", "--no-sync"]
        subprocess.run(self._command("initdb", *arguments), check=True, stdout=subprocess.DEVNULL)
        with (self._folder / "data" / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {address}/24 trust\n")

    def _command(self, program: str, *arguments: str) -> list[str]:
        # setpriv becomes the program itself, so that its process id is the server's.
        user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []
        return [*self._within, *user, str(self._programs / program), *arguments]

    def start(self) -> None:
        """Start it, and wait until it answers."""
        data, port = str(self._folder / "data"), str(self.port)
        settings = ["-h", self._address, "-k", str(self._folder), "-c", "fsync=off", "-c", "max_connections=50"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command("postgres", "-D", data, "-p", port, *settings),
                cwd=self._folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self.answers, 30, f"PostgreSQL answers\n{(self._folder / 'log').read_text()}")

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def answers(self) -> bool:
        import psycopg

        try:
            self.execute("SELECT 1", connect_timeout=2)
        except psycopg.OperationalError:
            return False
        return True

    def execute(self, statement: str, *, connect_timeout: int = 20) -> list[tuple[object, ...]]:
        import psycopg  # not needed by those who use the other things of this module

        with psycopg.connect(self._own_url, connect_timeout=connect_timeout, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def dump(self) -> str:
        """Return all of it as SQL for `load`."""
        command = self._command("pg_dump", "--no-owner", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres")
        return subprocess.run([*command, "postgres"], check=True, capture_output=True, text=True).stdout

    def load(self, dump: str) -> None:
        """Fill an empty database from what `dump` has returned."""
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-d", "postgres"]
        command = self._command("psql", "-q", "-X", "-v", "ON_ERROR_STOP=1", *where)
        subprocess.run(command, input=dump, check=True, text=True, stdout=subprocess.DEVNULL, cwd=self._folder)

    def empty(self) -> None:
        """Delete all tables; a writer of an earlier test that is not done yet must not hold on to them."""
        others = "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
        self.execute(f"SELECT pg_terminate_backend(pid) {others}")
        self.execute("DROP SCHEMA public CASCADE")
        self.execute("CREATE SCHEMA public")

    def _tree(self) -> list[psutil.Process]:
        if self._process is None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            main = psutil.Process(self._process.pid)
            return [main, *main.children(recursive=True)]
        return []

    def suspend(self) -> None:
        """Have it hang, every process of it, until it is sent SIGCONT."""
        for process in self._tree():
            with contextlib.suppress(ProcessLookupError):
                suspend(process.pid)

    def signal(self, signum: int) -> None:
        """Send a signal to every process of it."""
        for process in self._tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signum)

    def kill(self) -> None:
        """SIGKILL to all of it at once, as a loss of power would; the folder stays."""
        if self._process is None:
            return
        tree = self._tree()
        self.signal(signal.SIGKILL)
        self._process.wait()
        self._process = None
        psutil.wait_procs(tree, 10)

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


@pytest.fixture(scope="module")
def postgresql_server() -> Iterator[PostgreSQL]:
    server = PostgreSQL()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def postgresql(postgresql_server: PostgreSQL) -> Iterator[PostgreSQL]:
    """A PostgreSQL that is running, without any table."""
    if not postgresql_server.answers():
        postgresql_server.signal(signal.SIGCONT)
        postgresql_server.kill()
        with outlives_the_test():
            postgresql_server.start()
    postgresql_server.empty()
    first = postgresql_server.pid
    yield postgresql_server
    if postgresql_server.pid != first:
        postgresql_server.kill()  # what a test has started anew ends with the test


# -- a disk


class SmallDisk:
    """A file system in memory that can be filled, emptied, and made read-only."""

    def __init__(self, folder: Path, mebibytes: int) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)], check=True)

    def fill(self) -> None:
        """Leave not a byte."""
        with open(self.folder / "filling", "ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"\0" * 4096)

    def make_room(self) -> None:
        (self.folder / "filling").unlink()

    def make_read_only(self, read_only: bool = True) -> None:
        how = "ro" if read_only else "rw"
        subprocess.run(["mount", "-o", f"remount,{how}", str(self.folder)], check=True)

    def unmount(self) -> None:
        subprocess.run(["umount", "-l", str(self.folder)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    if os.getuid() != 0:
        pytest.skip("only root may mount a file system")
    try:
        disk = SmallDisk(tmp_path / "disk", 8)
    except subprocess.CalledProcessError:
        pytest.skip("mounting is not allowed here")
    yield disk
    disk.unmount()


# -- scripts


@pytest.fixture(scope="session")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the scripts of these tests."""
    folder = tmp_path_factory.mktemp("durable-scripts")
    for name, text in _SCRIPTS.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


_SCRIPTS = {
    "cannot_park.py": """
import time
from pubsub import pub
def main():
    try:
        pub.sendMessage("armed")
        time.sleep(300)
    finally:
        raise RuntimeError("park failed: wind")
""",
    "abort_fails.py": """
def init(subarray_id=0): pass
def main(): raise RuntimeError("park failed: wind")
""",
    "quick.py": "def main(*args):\n    print('done')\n",
    "on_subarray.py": "def init(subarray_id=0): pass\ndef main(): pass\n",
    "step.py": """
import time
from pathlib import Path

def init(folder):
    global marks
    marks = Path(folder)

def main(**kwargs):
    '''Counts, and notices if it is disturbed; ends when told by a file.'''
    number = 0
    while not (marks / "end").exists():
        number += 1
        (marks / "count").write_text(str(number))
        time.sleep(0.01)
""",
    "late.py": """
import time
from pathlib import Path

def init(folder):
    while not (Path(folder) / "go").exists():
        time.sleep(0.01)

def main(**kwargs):
    pass
""",
    "waits.py": "import time\ndef main(seconds=300.0):\n    time.sleep(seconds)\n",
    "prints.py": """
import os, subprocess, sys
def main(lines=3, **kwargs):
    for number in range(lines):
        print(f"line {number} \u00e9\u20ac\U0001f600")
    print("an error", file=sys.stderr)
    os.write(1, b"from C\\n")
    subprocess.run(["sh", "-c", "echo from a child; echo its error >&2"])
""",
    "leaves_when_told.py": """
import signal, time
from pubsub import pub
def main():
    told = []
    signal.signal(signal.SIGTERM, lambda *_: told.append(True))
    pub.sendMessage("armed")
    while not told:
        time.sleep(0.01)
    time.sleep(1)
""",
    "keeps_a_file.py": """
from ska_oet_device.scripting import this_run
def main():
    (this_run().folder / "data").write_text("42")
""",
    "floods.py": """
import os
def main(mebibytes):
    line = b"x" * 127 + b"\\n"
    os.write(1, b"FIRST\\n")
    for _ in range(mebibytes * 8):
        os.write(1, line * 1024)
    os.write(1, b"LAST\\n")
""",
    "floods_for_ever.py": """
import os, time
def main():
    line = b"x" * 127 + b"\\n"
    while True:
        os.write(1, line * 2048)  # about 12 MiB a second
        time.sleep(0.02)
""",
    "floods_when_ready.py": """
import os, threading, time
def flood():
    while True:
        os.write(1, b"x" * 262144)
        time.sleep(0.02)
def init(*args, **kwargs):
    threading.Thread(target=flood, daemon=True).start()
def main():
    pass
""",
    "prints_for_ever.py": """
import time
def main():
    number = 0
    while True:
        number += 1
        print("tick", number)
        time.sleep(0.002)
""",
    "eats.py": """
def main(size=1024, **kwargs):
    kept = []
    while True:
        kept.append(bytearray(size))
""",
    "children.py": """
import subprocess, time
from pathlib import Path
def main(path, count=100, session=False, **kwargs):
    children = [subprocess.Popen(["sleep", "300"], start_new_session=session) for _ in range(count)]
    partial = Path(path + ".part")
    partial.write_text(" ".join(str(child.pid) for child in children))
    partial.rename(path)
    time.sleep(300)
""",
    "daemon.py": """
import os, time
from pathlib import Path
def main(path, **kwargs):
    '''Leaves a process that has gone into a session of its own, and has no parent that cares.'''
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            Path(path + ".part").write_text(str(os.getpid()))
            os.rename(path + ".part", path)
            time.sleep(300)
        os._exit(0)
    time.sleep(300)
""",
    "raises_mid_line.py": "import sys\ndef main(*args):\n    print('half a line', end='')\n    sys.exit(3)\n",
    "raises.py": "def main(*args):\n    raise ValueError('no such receiver \u00e9\u20ac \\0 \\ud800')\n",
}


def python_with(statements: str) -> list[str]:
    """Return a command that runs the server after some statements; `keeper` keeps the device server."""
    return [
        sys.executable,
        "-c",
        "import sys, ska_oet_device.main as main, ska_oet_device.procedure.supervision._device_server as keeper; "
        f"{statements}; sys.exit(main.main())",
    ]


# -- a server that is broken and started again


class Station:
    """One device server with its client, over any number of starts with the same state folder."""

    def __init__(self, database: Database, instance: str, folder: Path, properties: dict[str, Any]) -> None:
        self.database = database
        self.instance = instance
        self.folder = folder
        self.device = f"mid-oet/{instance}/01"
        self.servers: list[Server] = []
        self._oet: Oet | None = None
        self._command: list[str] | None = None
        database.add_server(instance, {self.device: {**QUICK, **properties}})

    @property
    def server(self) -> Server:
        return self.servers[-1]

    @property
    def oet(self) -> Oet:
        assert self._oet is not None
        return self._oet

    @property
    def proxy(self) -> tango.DeviceProxy:
        return self.oet.proxy

    def start(self, command: list[str] | None = None) -> None:
        """Start it, after an end of whatever kind; events are recorded anew.

        :param command: what to start instead of OetDevice, from now on
        """
        self._command = command or self._command
        self.servers.append(Server([self.instance, *BIND], self.folder, self.database.host, self._command))
        if self._oet is None:
            self._oet = Oet(self.database, self.device, self.server)
        else:
            self._oet.server = self.server
            self._oet.reconnect()

    def kill_device_server(self, *, may_be_last: bool = False) -> float:
        """SIGKILL to the device server; returns the seconds until another one answers.

        :param may_be_last: whether the whole server may end instead
        """
        try:
            old = self.server.device_server()
        except AssertionError:
            if may_be_last and self.server.has_ended:
                return 0.0
            raise
        old.kill()
        started = time.monotonic()
        wait_until(
            lambda: (may_be_last and self.server.has_ended) or self._answers(old.pid),
            30,
            "another device server answers",
        )
        return time.monotonic() - started

    def _answers(self, old: int) -> bool:
        with contextlib.suppress(tango.DevFailed, AssertionError):
            pids = [process.pid for process in self.server.device_servers()]
            return bool(pids) and old not in pids and self.proxy.state() is not None
        return False

    def kill_main(self, *, wait: bool = True) -> list[psutil.Process]:
        """SIGKILL to main; returns all the processes that there were, when they are gone unless told otherwise."""
        before = self.server.tree()
        self.server.process.kill()
        self.server.wait()
        if wait:
            try:
                wait_until(lambda: not any(is_alive(process.pid) for process in before), 10, "all processes are gone")
            except AssertionError as error:
                left = [(process.pid, process.cmdline()) for process in before if is_alive(process.pid)]
                raise AssertionError(f"{error}; left: {left}\n{self.server.log_text()[-3000:]}") from None
        return before

    def events(self) -> list[dict[str, Any]]:
        """Return all lifecycle events that the device knows, page by page."""
        found: list[dict[str, Any]] = []
        while True:
            page = json.loads(self.proxy.LifecycleEvents(found[-1]["sequence"] if found else 0))
            if not page:
                return found
            found += page

    def output(self, uid: int, limit: int = 65536) -> str:
        """Return all that a procedure has printed, page by page."""
        text, offset = "", 0
        while True:
            page = json.loads(self.proxy.Output(json.dumps({"process_uid": uid, "offset": offset, "limit": limit})))
            assert page["next_offset"] > offset or not page["text"]
            text += page["text"]
            if page["complete"] or page["next_offset"] == offset:
                return text
            offset = page["next_offset"]

    def wait_for(self, uid: int, *states: str, seconds: float = 20) -> dict[str, Any]:
        """Return the procedure's summary as soon as it is in one of `states`; needs no events."""

        def found() -> dict[str, Any] | None:
            summary = self.oet.summary(uid)
            return summary if summary["state"] in states else None

        return wait_until(found, seconds, f"procedure {uid} is {states}")

    def wait_until_told(self, uid: int, state: str, seconds: float = 20) -> dict[str, Any]:
        """Return a change when `LifecycleEvents` has it, which is behind the summary: the history is written first."""

        def found() -> dict[str, Any] | None:
            wanted = (uid, state)
            return next((each for each in self.events() if (each["process_uid"], each["state"]) == wanted), None)

        return wait_until(found, seconds, f"it is told that procedure {uid} is {state}")

    def health(self) -> str:
        return str(self.proxy.healthState.name)

    def clean_up(self) -> None:
        if self._oet is not None:
            self._oet.close()
        for server in self.servers:
            server.clean_up()


def gapless(events: list[dict[str, Any]]) -> bool:
    """Say whether the events are numbered from 1 without gaps."""
    return [event["sequence"] for event in events] == list(range(1, len(events) + 1))
