"""`oet health --alive`, for a liveness probe: it must neither kill a server that runs nor spare one that hangs."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.databases import make_database
from support.ports import free_port
from support.processes import stopped
from support.shell import OetCommand
from support.spares import spares_at_rest
from support.tango_server import SCRIPTS, Database, Oet, Server, is_alive
from support.waiting import wait_until

from ska_oet_device.cli._alive import AliveLook

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

NAME = "mid-oet/alive/1"
NEVER = "mid-oet/never/1"
PATIENT = ("--timeout", "30")  # seconds: a loaded machine is slow


class Site:
    """A device, its database, and where a probe notes addresses."""

    def __init__(self, database: Database, oet: Oet, port: int, notes: Path) -> None:
        self.database, self.oet, self.server, self.notes = database, oet, oet.server, notes
        self.direct = f"tango://127.0.0.1:{port}/{NAME}#dbase=no"

    def alive(self, *words: str, timeout: str = "30", **more: str) -> tuple[int, str]:
        environment = {"XDG_RUNTIME_DIR": str(self.notes), **more}
        done = OetCommand(self.database.host)(
            "health", "--alive", "--timeout", timeout, *(words or (NAME,)), **environment
        )
        assert done.err == ""
        return done.status, done.out


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("alive")
    database = make_database(folder, lasting=True)
    try:
        port = free_port()
        database.add_server("alive", {NAME: {"ScriptRoots": [SCRIPTS]}})
        server = Server(["alive", "-ORBendPoint", f"giop:tcp:127.0.0.1:{port}"], folder / "server", database.host)
        try:
            oet = Oet(database, NAME, server)
            yield Site(database, oet, port, folder)
            oet.close()
        finally:
            server.clean_up()
    finally:
        database.stop()


@pytest.fixture
def site(running: Site, tmp_path: Path) -> Site:
    """The device, of which nothing is noted yet."""
    running.notes = tmp_path
    return running


def test_a_device_that_answers_is_alive_and_nothing_is_forked_for_it(site):
    spares = spares_at_rest(site.server)
    assert [site.alive() for _ in range(3)] == [(0, f"ALIVE {NAME}: State is ON\n")] * 3
    assert site.alive("--json") == (0, f'{{"device": "{NAME}", "alive": true, "status": "State is ON"}}\n')
    assert sorted(each.pid for each in site.server.spares()) == spares


def test_it_is_alive_whatever_its_health(site):
    with stopped(site.server.pid):
        site.oet.recorder.wait_for("healthState", lambda value: value == 2, 60)
        assert site.alive() == (0, f"ALIVE {NAME}: State is FAULT\n")
    wait_until(lambda: site.oet.proxy.healthState == 0, 60, "it is well again")


def test_a_device_that_has_answered_before_needs_no_database(site):
    assert site.alive()[0] == 0
    with stopped(site.database.pid):
        assert site.alive() == (0, f"ALIVE {NAME}: State is ON\n")


def test_a_device_that_hangs_is_not_alive_whether_it_has_answered_before_or_not(site):
    for _ in range(2):
        with stopped(site.server.pid), stopped(site.server.device_server().pid):
            assert site.alive(timeout="10") == (1, f"FAILED {NAME}: hangs: no answer within 10 s\n")
        wait_until(lambda: site.alive()[0] == 0, 60, "it is well again")


def test_a_device_server_that_hangs_is_not_alive_though_the_database_is_away(site):
    with stopped(site.database.pid):
        assert site.alive(site.direct, timeout="10")[0] == 0
        with stopped(site.server.pid), stopped(site.server.device_server().pid):
            hangs = f"FAILED {site.direct}: hangs: no answer within 10 s\n"
            assert site.alive(site.direct, timeout="10") == (1, hangs)
    wait_until(lambda: site.alive()[0] == 0, 60, "it is well again")


@pytest.mark.parametrize("host", ["", "127.0.0.1:1"])
def test_an_address_is_enough_where_there_is_no_database(site, host):
    more = {"TANGO_HOST": host or "127.0.0.1:2"}
    status, text = site.alive(site.direct, **more)
    assert (status, text.startswith(f"ALIVE {site.direct}: its server answers; ")) == (0, True)


def test_that_the_database_is_away_counts_against_no_device(site):
    with stopped(site.database.pid):
        status, text = site.alive(timeout="10")
        assert (status, text.startswith(f"ALIVE {NAME}: as far as can be known: the Tango database ")) == (0, True)
    status, text = site.alive(TANGO_HOST="127.0.0.1:1")
    assert (status, "127.0.0.1:1 does not answer" in text) == (0, True)


def test_a_device_server_that_is_started_again_is_waited_for_and_found_where_it_is_then(site):
    assert site.alive()[0] == 0
    (noted,) = (site.notes / f"oet-{os.geteuid()}").iterdir()
    before = noted.read_text()
    with stopped(site.server.pid):  # which would start it again
        device_server = site.server.device_server()
        device_server.kill()
        wait_until(lambda: not is_alive(device_server.pid), 10, "it has gone")
        status, text = site.alive(timeout="10")
        assert status == 1
        assert text.startswith(f"FAILED {NAME}: takes no connection at 127.0.0.1:")
    assert site.alive() == (0, f"ALIVE {NAME}: State is ON\n")
    assert noted.read_text() != before


def test_what_the_database_has_said_holds_though_it_hangs_then(site, monkeypatch):
    monkeypatch.setenv("TANGO_HOST", site.database.host)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")  # which a look sets, and leaves
    site.database.add_server("never", {NEVER: {}})
    try:
        look, late = AliveLook(NEVER, 60), AliveLook(NEVER, 60)
        look.ends = time.monotonic() + 60  # from now on, not from the import on
        assert look._looked_up() is None
        with stopped(site.database.pid):
            look.ends = late.ends = time.monotonic() + 1
            failed = ("FAILED", "does not run: its server has ended, or has not begun")
            assert look._looked_up() == look.too_late() == failed
            assert [found[0] for found in (late._looked_up(), late.too_late())] == ["ALIVE", "ALIVE"]
    finally:
        site.database.tango.delete_server("OetDevice/never")


def test_a_device_that_there_is_not_is_not_alive(site):
    status, text = site.alive("no/such/device")
    assert (status, "not defined in the database" in text) == (1, True)
    assert site.alive(TANGO_HOST="nonsense") == (1, f"FAILED {NAME}: TANGO_HOST is nonsense, and not host:port\n")


@pytest.mark.parametrize("what", ["open", "file", "nowhere"])
def test_a_place_for_notes_that_is_not_ours_alone_is_not_used(site, what):
    folder = site.notes / f"oet-{os.geteuid()}"
    if what == "open":
        folder.mkdir()
        folder.chmod(0o777)
    elif what == "file":
        folder.write_text("")
    else:
        site.notes = site.notes / "nowhere"
    assert site.alive() == (0, f"ALIVE {NAME}: State is ON\n")
    assert not folder.is_dir() or list(folder.iterdir()) == []


def test_what_is_noted_is_for_nobody_else(site):
    assert site.alive()[0] == 0
    folder = site.notes / f"oet-{os.geteuid()}"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()] == [0o600]
