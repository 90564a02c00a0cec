"""The Tango database of most observatories: DatabaseDS with MariaDB, as Debian packages them, on a free port."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .tango_server import Database, free_port
from .waiting import wait_until

_DATABASEDS = Path("/usr/lib/tango/DataBaseds")
_MARIADBD = Path("/usr/sbin/mariadbd")  # which is not in the PATH of every root
_SCHEMA = Path("/usr/share/dbconfig-common/data/tango-db/install/mysql")
_ACCOUNT = (
    "CREATE DATABASE tango; CREATE USER tango@localhost IDENTIFIED BY 'tango'; "
    "GRANT ALL ON tango.* TO tango@localhost; FLUSH PRIVILEGES;"
)


class MariaDatabase(Database):
    """A Tango database that is used as the embedded one is; root runs its MariaDB as the user mysql."""

    def __init__(self) -> None:
        """Make the tables and start both servers; skips the test where they are not installed."""
        if os.getuid() != 0 or not _DATABASEDS.exists() or not _MARIADBD.exists():
            pytest.skip("DatabaseDS and MariaDB are not installed: tests/support/install_tangodb.sh")
        self._folder = Path(tempfile.mkdtemp(prefix="oet-mariadb-"))  # pytest's folder is closed to the user mysql
        self._socket = self._folder / "socket"
        shutil.chown(self._folder, "mysql", "mysql")
        self._mariadb = self._start_mariadb()
        self.host = f"127.0.0.1:{free_port()}"
        self._process = self._start_databaseds()
        self.tango = wait_until(lambda: self._connect(self._port_number), 30, "the database answers")

    @property
    def _port_number(self) -> int:
        return int(self.host.rpartition(":")[2])

    def _start_mariadb(self) -> subprocess.Popen[bytes]:
        data = f"--datadir={self._folder / 'data'}"
        subprocess.run(
            ["mariadb-install-db", "--no-defaults", "--user=mysql", data, "--skip-test-db"],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with (self._folder / "mariadb.log").open("wb") as log:
            process = subprocess.Popen(
                [
                    str(_MARIADBD),
                    "--no-defaults",
                    "--user=mysql",
                    data,
                    f"--socket={self._socket}",
                    "--skip-networking",
                ],
                stdout=log,
                stderr=log,
            )
        wait_until(lambda: self._sql("SELECT 1", check=False), 60, "MariaDB answers")
        self._sql(_ACCOUNT)
        self._sql(_SCHEMA.read_text(), "tango")
        return process

    def _sql(self, text: str, *database: str, check: bool = True) -> bool:
        command = ["mariadb", "--no-defaults", f"--socket={self._socket}", "-uroot", *database]
        done = subprocess.run(command, input=text.encode(), capture_output=True, check=check)
        return done.returncode == 0

    def _start_databaseds(self) -> subprocess.Popen[bytes]:
        # Without the character set DatabaseDS 9 fails at its first statement.
        (self._folder / ".my.cnf").write_text(f"[client]\nsocket={self._socket}\ndefault-character-set=latin1\n")
        account = {"MYSQL_USER": "tango", "MYSQL_PASSWORD": "tango", "MYSQL_HOST": "localhost"}
        with (self._folder / "databaseds.log").open("ab") as log:
            return subprocess.Popen(
                [str(_DATABASEDS), "2", "-ORBendPoint", f"giop:tcp:{self.host}"],
                env={**os.environ, **account, "HOME": str(self._folder), "TANGO_HOST": self.host},
                stdout=log,
                stderr=log,
            )

    def kill_and_start_again(self) -> None:
        self._process.kill()
        self._process.wait()
        self._process = self._start_databaseds()
        wait_until(lambda: self._connect(self._port_number), 30, "the database answers again")

    def stop(self) -> None:
        for process in (self._process, self._mariadb):
            process.kill()
            process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


@pytest.fixture
def mariadb() -> Iterator[MariaDatabase]:
    database = MariaDatabase()
    yield database
    database.stop()
