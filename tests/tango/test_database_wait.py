"""The very first start while the Tango database is away: with --wait-for-database it waits, and says so."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from support.databases import make_database
from support.processes import suspend
from support.tango_server import SCRIPTS, Database, Oet, Server
from support.waiting import wait_until

from .conftest import BIND, QUICK

pytestmark = [pytest.mark.long, pytest.mark.timeout(180)]

NAME = "mid-oet/subarray/01"
WAITING = "the start waits for it"
HOW = {"argument": (["--wait-for-database"], {}), "variable": ([], {"OET_WAIT_FOR_DATABASE": "3600"})}


@pytest.fixture
def lasting(tmp_path: Path) -> Iterator[Database]:
    """A Tango database that knows the server."""
    database = make_database(tmp_path, lasting=True)
    database.add_server("01", {NAME: {"ScriptRoots": [SCRIPTS], "SubarrayId": 1, **QUICK}})
    yield database
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(database.pid).send_signal(signal.SIGCONT)
    database.stop()


@contextlib.contextmanager
def started(tmp_path: Path, host: str, *arguments: str, **environment: str) -> Iterator[Server]:
    server = Server(["01", *BIND, *arguments], tmp_path / "server", host, extra_environment=environment)
    try:
        yield server
    finally:
        server.clean_up()


def waits(server: Server) -> None:
    wait_until(lambda: WAITING in server.log_text(), 60, "the start waits for the database")


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("what", ["killed", "stopped"])
def test_it_serves_when_the_database_is_there(lasting, tmp_path, how, what):
    if what == "killed":
        lasting.stop()
    else:
        suspend(lasting.pid)
    arguments, environment = HOW[how]
    with started(tmp_path, lasting.host, *arguments, **environment) as server:
        waits(server)
        assert f"the Tango database at TANGO_HOST={lasting.host} does not answer" in server.log_text()
        if what == "killed":
            lasting.kill_and_start_again()
        else:
            os.kill(lasting.pid, signal.SIGCONT)
        oet = Oet(lasting, NAME, server)
        assert oet.recorder.wait_for_end(oet.run("good.py"))["state"] == "COMPLETE"
        oet.close()
        assert server.stop() == 0
        assert "the Tango database answers, after" in server.log_text()


def test_a_database_that_is_there_is_not_waited_for(lasting, tmp_path):
    with started(tmp_path, lasting.host, "--wait-for-database=60", "-v3") as server:
        oet = Oet(lasting, NAME, server)
        assert oet.recorder.wait_for_end(oet.run("good.py"))["state"] == "COMPLETE"
        oet.close()
        assert server.stop() == 0
        assert "answers, after" not in server.log_text()


def test_one_that_does_not_come_in_time_is_named_in_the_end(lasting, tmp_path):
    lasting.stop()
    with started(tmp_path, lasting.host, "--wait-for-database=1") as server:
        assert server.wait() == 1
        last = [line for line in server.log_text().splitlines() if "could not start" in line][-1]
        assert f"the Tango database at TANGO_HOST={lasting.host} does not answer" in last
        assert "it was waited for since 2" in last
        assert server.leftovers([]) == []


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_whoever_asks_it_to_end_while_it_waits_need_not_wait(lasting, tmp_path, signum):
    lasting.stop()
    with started(tmp_path, lasting.host, "--wait-for-database") as server:
        waits(server)
        assert server.stop(signum) == 0
        assert "Traceback" not in server.log_text()
        assert "the server has ended with status 0" in server.log_text()


def test_a_host_that_nobody_knows_is_told_at_once(tmp_path):
    with started(tmp_path, "no-such-host.invalid:10000", "--wait-for-database") as server:
        waits(server)
        assert "nobody knows a host no-such-host.invalid" in server.log_text()
        assert server.stop() == 0


@pytest.mark.parametrize(
    ("arguments", "environment", "host", "expected"),
    [
        (["--wait-for-database=soon"], {}, "127.0.0.1:1", "the argument --wait-for-database is 'soon': it must be a"),
        (
            [],
            {"OET_WAIT_FOR_DATABASE": "yes"},
            "127.0.0.1:1",
            "the variable OET_WAIT_FOR_DATABASE is 'yes': it must be",
        ),
        (["--wait-for-database"], {}, "nonsense", "TANGO_HOST=nonsense does not answer (nonsense: not HOST:PORT)"),
    ],
    ids=["argument", "variable", "TANGO_HOST"],
)
def test_what_makes_no_sense_is_said_at_once(tmp_path, arguments, environment, host, expected):
    with started(tmp_path, host, *arguments, **environment) as server:
        assert server.wait() == 1
        assert expected in server.log_text()
        assert WAITING not in server.log_text()
