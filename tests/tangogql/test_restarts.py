"""What a page of Taranta shows when servers end and begin again: the truth, first by polling, then by events.

How long each step takes is Tango's and TangoGQL's own (docs/how-to/use-taranta.md), and is measured by the benchmark.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.tango_server import SCRIPTS, Database, Oet, Server, serving
from support.tangogql import MISSING, PROGRAMS, Subscription, TangoGql
from support.waiting import wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

_SHOWN = ("state", "status", "procedureids", "procedurestates", "activeprocedurestate", "healthstate", "scriptoutput")


@contextlib.contextmanager
def _page(tangogql: TangoGql, device: str) -> Iterator[Subscription]:
    with tangogql.subscribe(f"{device}/{name}" for name in _SHOWN) as page:
        page.wait_for_all()
        yield page


def _sources(tangogql: TangoGql, device: str) -> set[str]:
    return {source for name, source in tangogql.sources().items() if name.startswith(f"{device}/")}


def test_a_killed_device_server_is_told_then_polled_and_has_events_again(
    database: Database, tangogql: TangoGql, tmp_path: Path
) -> None:
    name = "mid-oet/restarts/01"
    with serving(database, "restarts", name, tmp_path, ScriptRoots=[SCRIPTS]) as oet, _page(tangogql, name) as page:
        uid = oet.running("sleepy.py", seconds=600)
        page.wait_for("state", lambda state: state == "RUNNING")
        oet.recorder.close()
        page.clear()
        oet.server.device_server().kill()

        told = wait_until(lambda: [frame for frame in page.frames() if frame.error], 60, "the page is told")
        assert told[0].error == "Event channel is not responding anymore, maybe the server or event system is down"
        # What ran goes on, and is shown: the page needs no event for that.
        page.wait_for("state", lambda state: state == "RUNNING")
        page.wait_for("procedureids", lambda ids: uid in ids)
        wait_until(lambda: _sources(tangogql, name) == {"POLLING"}, 60, "all is read again and again")

        # An operator need not wait for events either.
        page.clear()
        answer = tangogql.execute(name, "Stop", str(uid))
        assert answer["ok"], answer["message"]
        page.wait_for("state", lambda state: state == "ON")
        page.wait_for("procedurestates", lambda states: states[-1:] == ["STOPPED"])

        tangogql.wait_for_events(f"{name}/{each}" for each in _SHOWN)
        page.clear()
        assert tangogql.execute(name, "Run", "file://sleepy.py")["ok"]
        page.wait_for("state", lambda state: state == "RUNNING")
        assert tangogql.execute(name, "Stop", "")["ok"]
        page.wait_for("state", lambda state: state == "ON")
        assert _sources(tangogql, name) == {"CHANGE_EVENT"}
        oet.reconnect()


def test_a_page_that_is_closed_and_opened_after_a_restart_has_events_again(
    database: Database, tangogql: TangoGql, tmp_path: Path
) -> None:
    name = "mid-oet/restarts/02"
    database.add_server("restarts-02", {name: {"ScriptRoots": [SCRIPTS]}})
    arguments = ["restarts-02", "-ORBendPoint", "giop:tcp:127.0.0.1:0"]
    first = Server(arguments, tmp_path, database.host)
    try:
        Oet(database, name, first).close()
        with _page(tangogql, name) as page:
            assert first.stop() == 0
            wait_until(lambda: [frame for frame in page.frames("state") if frame.error], 60, "the page is told")
    finally:
        first.clean_up()
    wait_until(lambda: not _sources(tangogql, name), 60, "TangoGQL has forgotten the page")
    second = Server(arguments, tmp_path, database.host)
    try:
        oet = Oet(database, name, second)
        with _page(tangogql, name) as page:
            tangogql.wait_for_events(f"{name}/{each}" for each in _SHOWN)
            uid = json.loads(tangogql.execute(name, "Run", "file://good.py")["output"])["id"]
            page.wait_for("procedureids", lambda ids: uid in ids)
        oet.close()
        assert second.stop() == 0
    finally:
        second.clean_up()


def test_events_go_on_while_the_database_is_away_and_when_it_is_back(tmp_path: Path) -> None:
    if not (PROGRAMS / "uvicorn").exists():
        pytest.skip(MISSING)
    name = "mid-oet/subarray/01"
    database = Database(tmp_path, lasting=True)
    try:
        with (
            serving(database, "01", name, tmp_path / "server", ScriptRoots=[SCRIPTS]) as oet,
            TangoGql(database.host, tmp_path) as tangogql,
            _page(tangogql, name) as page,
        ):
            tangogql.wait_for_events(f"{name}/{each}" for each in _SHOWN)
            database.stop()
            running = oet.running("sleepy.py")
            page.wait_for("procedureids", lambda ids: running in ids)
            oet.stop(running)
            page.wait_for("procedurestates", lambda states: states[-1:] == ["STOPPED"])
            database.kill_and_start_again()
            again = json.loads(tangogql.execute(name, "Run", "file://sleepy.py")["output"])["id"]
            page.wait_for("procedureids", lambda ids: again in ids)
            oet.recorder.wait_for_state(again, "RUNNING")
            oet.tidy()
            page.wait_for("procedurestates", lambda states: states == ["STOPPED", "STOPPED"])
            assert [frame for frame in page.frames() if frame.error] == []
            assert set(tangogql.sources().values()) == {"CHANGE_EVENT"}
    finally:
        database.stop()
