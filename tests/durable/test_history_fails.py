"""A history that cannot be written stops no script, and loses nothing if it comes back in time."""

from __future__ import annotations

import json
import re
import signal

import pytest
import tango
from support.durable import gapless
from support.waiting import wait_until

from ska_oet_device.files import remove_tree

SOON = 12.0  # seconds; healthState falls and recovers within 5 on a quiet machine


def goes_on(made) -> int:
    """Run a script and stop another, as if nothing had happened; returns the first one's id."""
    sleeping = made.oet.running("waits.py")
    made.oet.stop(sleeping)
    made.oet.recorder.wait_for_state(sleeping, "STOPPED", 20)
    uid = made.oet.run("quick.py")
    made.oet.recorder.wait_for_state(uid, "COMPLETE", 20)
    return uid


def falls(made, why: str) -> None:
    wait_until(lambda: made.health() == "FAILED", SOON, "healthState is FAILED")
    # State is set before Status; and the first failure may have another reason than the next ones.
    said = re.compile(f"history cannot be written.*{why}", re.DOTALL)
    wait_until(lambda: said.search(made.proxy.status()), SOON, f"Status says why: {why}")
    assert made.proxy.state() == tango.DevState.ALARM


def recovers(made) -> None:
    wait_until(lambda: made.health() == "OK", SOON + 10, "healthState is OK")
    wait_until(lambda: made.proxy.state() == tango.DevState.ON, SOON, "State is ON")


def is_complete(made) -> None:
    """The history, as a new server reads it, has everything that this client was told."""
    told = made.oet.recorder.lifecycle()
    made.oet.settle()
    made.server.stop()
    made.start()
    events = made.events()
    assert gapless(events)
    by_number = {event["sequence"]: event for event in events}
    for event in told:
        assert by_number[event["sequence"]] == event
    assert len(told) == len({event["sequence"] for event in told})
    assert found_again(made) == {event["process_uid"] for event in events}


def found_again(made) -> set[int]:
    """Return the ids that the command History tells, page by page."""
    found: list[int] = []
    while page := json.loads(made.proxy.History(json.dumps({"before": found[-1] if found else 0}))):
        found += [summary["id"] for summary in page]
    return set(found)


class TestFullDisk:
    def test_nothing_is_lost(self, station, small_disk):
        made = station(StateDirectory=small_disk.folder)
        goes_on(made)
        small_disk.fill()
        goes_on(made)
        falls(made, "full")
        uid = goes_on(made)
        small_disk.make_room()
        recovers(made)
        assert made.wait_for(uid, "COMPLETE")
        is_complete(made)


@pytest.mark.long
class TestPostgreSQL:
    @pytest.fixture
    def made(self, station, postgresql):
        yield station(HistoryUrl=postgresql.url)
        postgresql.signal(signal.SIGCONT)

    def test_is_where_the_history_is(self, made, postgresql):
        uid = goes_on(made)
        wanted = f"SELECT state FROM procedure WHERE id = {uid}"
        # Clients are told without it where a commit takes more than a second.
        wait_until(lambda: postgresql.execute(wanted) == [(8,)], 20, "its end is in the database")
        is_complete(made)

    def test_killed(self, made, postgresql):
        goes_on(made)
        running = made.oet.running("waits.py")
        postgresql.kill()
        made.oet.stop(running)
        made.oet.recorder.wait_for_state(running, "STOPPED", 20)
        goes_on(made)
        falls(made, "connection")
        goes_on(made)
        postgresql.start()
        recovers(made)
        is_complete(made)

    def test_hanging(self, made, postgresql):
        goes_on(made)
        postgresql.suspend()
        goes_on(made)
        falls(made, "does not answer")
        made.proxy.set_timeout_millis(10_000)  # for a busy machine: the database answers never
        with pytest.raises(tango.DevFailed, match=r"UnknownProcedure|OET_NoHistory"):
            made.oet.stop(10_000)
        (known,) = json.loads(made.proxy.Summarise([goes_on(made)]))
        with pytest.raises(tango.DevFailed, match="OET_NoHistory"):  # after 1.2 s on a quiet machine
            made.proxy.History("")
        assert json.loads(made.proxy.History(json.dumps({"run_id": known["run_id"]}))) == [known]
        postgresql.signal(signal.SIGCONT)
        recovers(made)
        is_complete(made)

    def test_killed_together_with_the_device_server_loses_nothing_of_a_living_script(self, made, postgresql, tmp_path):
        """Main says again what was never committed."""
        uid = made.oet.ready("step.py", str(tmp_path))
        postgresql.kill()
        made.oet.start(uid)
        made.oet.recorder.wait_for_state(uid, "RUNNING", 20)
        old = made.server.device_server()
        old.kill()
        postgresql.start()
        wait_until(lambda: made._answers(old.pid), 30)
        (tmp_path / "end").touch()
        summary = made.wait_for(uid, "COMPLETE")
        assert [state for state, _ in summary["history"]["process_states"]][-4:] == [
            "READY",
            "RUNNING",
            "READY",
            "COMPLETE",
        ]
        assert gapless(made.events())

    def test_absent_at_the_start_is_an_alarm_until_it_comes_and_then_complete(self, made, postgresql):
        first = goes_on(made)
        left = made.oet.running("waits.py")
        made.kill_main()
        postgresql.kill()
        made.start()
        falls(made, "refused")
        uid = goes_on(made)
        assert uid > left > first, "no id is given twice"
        with pytest.raises(tango.DevFailed, match="has not answered since this server started"):
            made.oet.summary(left)
        postgresql.start()
        recovers(made)
        summary = made.wait_for(left, "FAILED")
        assert summary["history"]["exit"]["reason"].startswith("server restarted while the procedure was RUNNING")
        assert [item["id"] for item in made.oet.summaries()] == sorted(item["id"] for item in made.oet.summaries())
        assert {first, left, uid} <= {item["id"] for item in made.oet.summaries()}
        is_complete(made)

    def test_absent_while_the_device_server_is_started_anew_a_living_script_is_known(self, made, postgresql, tmp_path):
        uid = made.oet.ready("step.py", str(tmp_path))
        made.oet.start(uid)
        made.oet.recorder.wait_for_state(uid, "RUNNING")
        made.oet.settle()
        before = made.proxy.lifecycleSequence
        assert made.events()[-1]["sequence"] == before, "everything is written"
        postgresql.kill()
        # The tick that finds this has told main first what is recorded: else main would say it again, as something new.
        falls(made, "connection")
        made.kill_device_server()
        summary = made.oet.summary(uid)
        assert (summary["state"], summary["history"]["process_states"][-1][0]) == ("RUNNING", "RUNNING")
        assert made.proxy.lifecycleSequence == before, "what was told is not told again"
        (tmp_path / "end").touch()
        made.wait_for(uid, "COMPLETE")
        postgresql.start()
        recovers(made)
        made.server.stop()
        made.start()
        assert gapless(made.events())
        assert made.oet.summary(uid)["state"] == "COMPLETE"


class TestFileAtTheStart:
    def test_corrupted_is_kept_aside_and_said(self, station):
        made = station()
        uid = goes_on(made)
        state = made.folder / "state"
        path = state / "history.sqlite3"
        # Tango may not start as it should, once in thousands of times.  The device server that has seen the file ends
        # then, and the next one finds nothing wrong: that start shows nothing.
        starts_anew = "Tango has not started as it should"
        for _ in range(3):
            made.server.stop()
            before = made.server.log_text().count(starts_anew)
            for part in state.glob("history.sqlite3[-.]*"):
                part.unlink()
            path.write_bytes(b"\xff" * path.stat().st_size)
            made.start()
            wait_until(
                lambda before=before: (
                    "set aside" in made.proxy.status() or made.server.log_text().count(starts_anew) > before
                ),
                SOON,
                "Status says so",
            )
            if made.server.log_text().count(starts_anew) == before:
                break
        (aside,) = state.glob("history.sqlite3.broken-*")
        assert aside.name in made.proxy.status()
        assert aside.read_bytes().startswith(b"\xff")
        assert goes_on(made) > uid  # ids go on, since the output files tell how far they had come
        wait_until(lambda: made.health() == "OK", SOON, "healthState is OK")

    @pytest.mark.long
    def test_read_only_is_said_and_scripts_run(self, station, small_disk):
        made = station(StateDirectory=small_disk.folder)
        goes_on(made)
        made.server.stop()
        small_disk.make_read_only()
        try:
            made.start()
            said = re.compile("history cannot be (opened|written)")
            wait_until(lambda: said.search(made.proxy.status()), SOON, "Status says so")
            assert made.proxy.state() == tango.DevState.ALARM
            goes_on(made)
        finally:
            made.server.stop()
            small_disk.make_read_only(False)
        made.start()
        wait_until(lambda: made.health() == "OK", SOON, "healthState is OK")

    @pytest.mark.long
    @pytest.mark.parametrize("what", ["history.sqlite3", "history.sqlite3*", "*"])
    def test_removed_while_in_use_is_an_alarm_until_somebody_has_seen_it_and_nothing_is_lost(self, station, what):
        made = station()
        first = goes_on(made)
        for path in list((made.folder / "state").glob(what)):
            remove_tree(path)
        wait_until(lambda: "was removed while it was in use" in made.proxy.status(), SOON)
        assert "nothing is lost" in made.proxy.status()
        assert made.proxy.state() == tango.DevState.ALARM
        uid = goes_on(made)
        made.proxy.Init()
        recovers(made)
        is_complete(made)
        assert made.oet.summary(first)["state"] == made.oet.summary(uid)["state"] == "COMPLETE"
        assert goes_on(made) > uid > first

    def test_a_live_server_writes_on_to_a_damaged_file_without_harm_to_scripts(self, station):
        made = station()
        goes_on(made)
        path = made.folder / "state" / "history.sqlite3"
        with path.open("r+b") as file:
            file.write(b"\xff" * 100_000)
        goes_on(made)
