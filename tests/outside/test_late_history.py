"""A PostgreSQL that is there later than the first server that wants it, by more than it is waited for."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tango
from support.databases import make_database
from support.durable import PostgreSQL, Station
from support.waiting import wait_until

from ska_oet_device.client import NoHistory, OetClient, ProcedureFailed
from ska_oet_device.procedure.domain import ProcedureState

RUNNING = (int(ProcedureState.RUNNING),)


@pytest.fixture
def made(postgresql: PostgreSQL, scripts: Path, tmp_path: Path) -> Iterator[Station]:
    """A server that has never run before."""
    database = make_database(tmp_path)
    station = Station(database, "first", tmp_path / "first", {"ScriptRoots": [scripts], "HistoryUrl": postgresql.url})
    yield station
    station.clean_up()
    database.stop()


def completes(made: Station) -> int:
    uid = made.oet.run("quick.py")
    made.wait_for(uid, "COMPLETE")
    return uid


def test_scripts_run_and_all_of_it_is_in_the_history_at_last(made, postgresql):
    postgresql.kill()
    made.start()
    uid = completes(made)
    wait_until(lambda: made.proxy.state() == tango.DevState.ALARM, 20)
    postgresql.start()
    wait_until(lambda: made.proxy.state() == tango.DevState.ON, 20)
    assert completes(made) == uid + 1
    made.oet.settle()
    newest = made.proxy.lifecycleSequence
    made.server.stop()
    made.start()
    assert made.proxy.lifecycleSequence == newest
    assert [made.oet.state(each) for each in (uid, uid + 1)] == ["COMPLETE", "COMPLETE"]


def test_a_history_that_others_have_filled_is_gone_on_with(made, postgresql):
    made.start()
    first = completes(made)
    made.server.stop()
    (numbers,) = made.folder.rglob("numbers")
    numbers.unlink()  # the server has moved to this host on the day on which the database is away
    postgresql.kill()
    made.start()
    uid = completes(made)
    assert uid > first
    postgresql.start()
    wait_until(lambda: made.proxy.state() == tango.DevState.ON, 20)
    wait_until(lambda: [item["id"] for item in made.oet.summaries()] == [first, uid], 20, "the earlier one is recalled")


def test_a_wait_goes_on_until_the_history_tells_how_it_has_ended(made, postgresql):
    made.start()
    with OetClient(f"tango://{made.database.host}/{made.device}") as client, ThreadPoolExecutor(1) as pool:
        procedure = client.run("waits.py")
        procedure.wait("RUNNING", timeout=20)
        # What is told is not on record yet where the database takes more than a second for it.
        wait_until(lambda: RUNNING in postgresql.execute("SELECT state FROM lifecycle"), what="it is on record")
        outcome = pool.submit(procedure.wait)
        postgresql.kill()
        made.kill_main()
        made.start()
        with pytest.raises(NoHistory):
            client.procedure(procedure.id)
        assert not outcome.done()
        postgresql.start()
        with pytest.raises(ProcedureFailed, match="server"):
            outcome.result(60)
