"""Whose a device's state is: two servers of one name neither mix what they keep nor kill each other's scripts."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.databases import make_database
from support.durable import Station, gapless
from support.processes import suspend
from support.tango_server import Database, is_alive
from support.waiting import wait_until


@pytest.fixture
def other_database(tmp_path: Path) -> Iterator[Database]:
    """A second Tango database of the same user."""
    database = make_database(tmp_path)
    yield database
    database.stop()


@pytest.fixture
def stations() -> Iterator[Callable[[Database, Path, Path], Station]]:
    """Return a function that starts a server of the same name as any other one, with the state folder it is given."""
    made: list[Station] = []

    def start(database: Database, scripts: Path, folder: Path) -> Station:
        station = Station(database, "same", folder, {"ScriptRoots": [scripts]})
        made.append(station)
        station.start()
        return station

    yield start
    for each in made:
        each.clean_up()


@pytest.mark.long
def test_two_databases_of_one_user_have_each_a_state_of_its_own(database, other_database, stations, scripts, tmp_path):
    """The same device name, the same instance, the same state folder: what a user has who keeps to the defaults."""
    first = stations(database, scripts, tmp_path / "shared")
    second = stations(other_database, scripts, tmp_path / "shared")
    for made in (first, second, first):
        uid = made.oet.run("prints.py", lines=3 if made is first else 2)
        made.wait_for(uid, "COMPLETE")
        assert made.output(uid).startswith("line 0")
    running = first.oet.running("waits.py")
    pid = first.oet.pid(running)
    second.kill_main()
    second.start()
    assert is_alive(pid), "another server's script is not reaped"
    assert first.oet.state(running) == "RUNNING"
    assert [summary["id"] for summary in second.oet.summaries()] == [1]
    assert [summary["id"] for summary in first.oet.summaries()] == [1, 2, 3]
    for made in (first, second):
        assert gapless(made.events())
        wait_until(lambda made=made: made.health() == "OK", 20, "healthState is OK")
    assert len(second.output(1)) < len(first.output(1)) == len(first.output(2))


def test_a_second_server_is_refused_and_says_who_owns_the_state(bare, tmp_path):
    first = bare(tmp_path / "state")
    oet = first.client()
    uid = oet.run("file://hello.py", fn="init")
    second = bare(tmp_path / "state")
    assert second.server.wait(30) not in (0, None)
    assert second.server.leftovers([]) == []
    log = second.server.log_text()
    assert f"belongs to main process {first.server.pid} on host" in log, log
    assert "which is running" in log
    assert not first.server.has_ended
    assert oet.summary(uid)["id"] == uid
    oet.close()
    assert first.server.stop() == 0


def test_a_server_whose_device_server_is_just_away_is_not_robbed(bare, tmp_path):
    first = bare(tmp_path / "state")
    first.client().close()
    suspend(first.server.process.pid)  # main cannot start another device server
    first.server.device_server().kill()
    second = bare(tmp_path / "state")
    assert second.server.wait(30) not in (0, None)
    first.server.process.send_signal(signal.SIGCONT)
    assert first.server.stop() == 0


def test_a_killed_server_is_followed_at_once(bare, tmp_path):
    first = bare(tmp_path / "state")
    oet = first.client()
    uid = oet.prepare("file://hello.py")
    oet.recorder.wait_for_state(uid, "READY")
    oet.close()
    first.server.process.kill()
    first.server.wait()
    second = bare(tmp_path / "state")
    oet = second.client()
    assert "server restarted while the procedure was READY" in oet.summary(uid)["history"]["exit"]["reason"]
    assert oet.prepare("file://hello.py") == uid + 1
    oet.close()
    assert second.server.stop() == 0


@pytest.mark.long
def test_who_looks_for_a_run_is_not_reaped_with_it(station):
    """A shell that names the run id, in its command or as a part of a variable, is none of its processes."""
    made = station()
    uid = made.oet.running("waits.py")
    run_id = made.oet.summary(uid)["run_id"]
    watchers = [
        subprocess.Popen(["sh", "-c", f"echo {run_id}; exec sleep 60"], stdout=subprocess.DEVNULL),
        subprocess.Popen(["sleep", "60"], env={**os.environ, "OLD_SKA_OET_RUN_ID": run_id}),
        subprocess.Popen(
            ["tail", "-f", "/dev/null", "--pid", str(os.getpid())], env={**os.environ, "X": f"run={run_id}"}
        ),
    ]
    try:
        made.kill_main()
        made.start()
        assert made.oet.state(uid) == "FAILED"
        assert [watcher.poll() for watcher in watchers] == [None] * len(watchers)
    finally:
        for watcher in watchers:
            watcher.kill()
            watcher.wait()
