"""The Tango database of most observatories: DatabaseDS with MariaDB, as Debian packages them, on a free port."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from .hosts import kill_tree
from .leaks import outlives_the_test
from .ports import free_port
from .tango_server import Database
from .waiting import wait_until

_DATABASEDS = Path("/usr/lib/tango/DataBaseds")
_MARIADBD = Path("/usr/sbin/mariadbd")  # which is not in the PATH of every root
_SCHEMA = Path("/usr/share/dbconfig-common/data/tango-db/install/mysql")
_ACCOUNT = "CREATE USER tango@localhost IDENTIFIED BY 'tango'; GRANT ALL ON *.* TO tango@localhost; FLUSH PRIVILEGES;"
_AS_MYSQL = ("setpriv", "--reuid=mysql", "--regid=mysql", "--init-groups", "--pdeathsig=KILL")
"""It dies with the process of pytest, whatever ends that; a change of the user by mariadbd itself would undo this."""
_QUICK = ("--innodb-log-file-size=4M", "--skip-name-resolve")  # a test's database need not be there after a power cut


def why_not() -> str:
    """Return why there is no MariaDB for Tango here; empty if there is."""
    if os.getuid() == 0 and _DATABASEDS.exists() and _MARIADBD.exists():
        return ""
    return "DatabaseDS and MariaDB are not installed, or this is not root: tests/support/install_tangodb.sh"


def databaseds(address: str) -> list[str]:
    """Return the command line of DatabaseDS.

    :param address: ``host:port`` where it listens
    """
    return [str(_DATABASEDS), "2", "-ORBendPoint", f"giop:tcp:{address}"]


class MariaDbServer:
    """A MariaDB that holds any number of Tango databases; root runs it as the user mysql."""

    def __init__(self, within: Sequence[str] = (), parent: Path | None = None) -> None:
        """Make the tables of MariaDB itself, and start it.

        :param within: what its command line begins with: that of another host, say
        :param parent: the folder in which it makes its own; all users may enter it
        """
        self._within = list(within)
        self._process: subprocess.Popen[bytes] | None = None
        self.folder = Path(
            tempfile.mkdtemp(prefix="oet-mariadb-", dir=parent)
        )  # pytest's folder is closed to the user mysql
        self.socket = self.folder / "socket"
        self._names = (f"tango{number}" for number in itertools.count(1))
        # Its own: one that starts removes the temporary tables of all others that have the folder, and they end.
        temporary = self.folder / "temporary"
        temporary.mkdir()
        for folder in (self.folder, temporary):
            shutil.chown(folder, "mysql", "mysql")
        self._options = [f"--datadir={self.folder / 'data'}", f"--tmpdir={temporary}", *_QUICK]
        install = ["mariadb-install-db", "--no-defaults", "--user=mysql", "--skip-test-db", *self._options]
        try:
            done = subprocess.run(install, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            assert done.returncode == 0, done.stdout
            self.start()
            self.sql(_ACCOUNT)
        except BaseException:
            self.remove()
            raise
        # Without the character set DatabaseDS 9 fails at its first statement.
        (self.folder / ".my.cnf").write_text(f"[client]\nsocket={self.socket}\ndefault-character-set=latin1\n")

    @property
    def pid(self) -> int:
        assert self._process is not None, "it was started"
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it answers."""
        where = [*self._options, f"--socket={self.socket}", "--skip-networking"]
        with (self.folder / "mariadb.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._within, *_AS_MYSQL, str(_MARIADBD), "--no-defaults", *where], stdout=log, stderr=log
            )
        wait_until(lambda: self.sql("SELECT 1", check=False), 60, "MariaDB answers")

    def kill(self) -> None:
        """SIGKILL, as a loss of power would; what it has written stays."""
        if self._process is not None:
            kill_tree(self._process)

    def sql(self, text: str, *database: str, check: bool = True) -> bool:
        """Run statements as root; says whether they have succeeded."""
        command = ["mariadb", "--no-defaults", f"--socket={self.socket}", "-uroot", *database]
        done = subprocess.run(command, input=text.encode(), capture_output=True, check=check)
        return done.returncode == 0

    def add_tango_database(self) -> str:
        """Make the tables of one more Tango database, as Debian's package does; returns its name."""
        name = next(self._names)
        self.sql(f"CREATE DATABASE {name}")
        self.sql(re.sub(r"\btango\.", f"{name}.", _with_sources(_SCHEMA)), name)
        return name

    def account(self, name: str) -> dict[str, str]:
        """Return the environment by which Tango's programs find their tables, in the Tango database `name`."""
        account = {"MYSQL_USER": "tango", "MYSQL_PASSWORD": "tango", "MYSQL_HOST": "localhost"}
        return {**account, "MYSQL_DATABASE": name, "HOME": str(self.folder)}

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def _with_sources(path: Path) -> str:
    """Return the statements of a file, with those of the files that it names."""
    return re.sub(r"^source (\S+)$", lambda found: Path(found[1]).read_text(), path.read_text(), flags=re.MULTILINE)


_shared: list[MariaDbServer] = []


def shared_server() -> MariaDbServer:
    """Return the MariaDB of this process of pytest: its tables cost seconds, those of one more Tango database less."""
    if not _shared:
        with outlives_the_test():
            _shared.append(MariaDbServer())
    return _shared[0]


def pytest_unconfigure() -> None:
    """End the MariaDB of this process of pytest."""
    while _shared:
        _shared.pop().remove()


class MariaDatabase(Database):
    """A Tango database that is used as the embedded one is, and always lasts."""

    def __init__(self, folder: Path, server: MariaDbServer) -> None:
        """Make its tables, and start its DatabaseDS.

        :param folder: for the log
        """
        self._log = folder / "database.log"
        self.server = server
        self.name = server.add_tango_database()
        self.host = f"127.0.0.1:{free_port()}"
        self.start_databaseds()
        try:
            self.tango = wait_until(lambda: self._connect(self._port_number), 30, "the database answers")
        except BaseException:
            self.stop()
            raise

    @property
    def _port_number(self) -> int:
        return int(self.host.rpartition(":")[2])

    @property
    def account(self) -> dict[str, str]:
        return self.server.account(self.name)

    def start_databaseds(self) -> None:
        """Start its DatabaseDS, and do not wait for that."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                databaseds(self.host),
                env={**os.environ, **self.account, "TANGO_HOST": self.host},
                stdout=log,
                stderr=log,
            )

    def kill_and_start_again(self) -> None:
        self.stop()
        self.start_databaseds()
        wait_until(lambda: self._connect(self._port_number), 30, "the database answers again")


@pytest.fixture
def mariadb(tmp_path: Path) -> Iterator[MariaDatabase]:
    """A Tango database with a MariaDB of its own, `mariadb.server`, which a test may kill."""
    if why_not():
        pytest.skip(why_not())
    server = MariaDbServer()
    try:
        database = MariaDatabase(tmp_path, server)
        yield database
        for process in (database.pid, server.pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(process).send_signal(signal.SIGCONT)
        database.stop()
    finally:
        server.remove()
