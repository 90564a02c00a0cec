"""kill -9 of the device server and of main: what goes on, what ends, and what clients learn of it."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path

import psutil
import pytest
from support.audit import requests_since
from support.durable import UNHURRIED, gapless, python_with
from support.processes import suspend
from support.tango_server import Oet, is_alive
from support.waiting import wait_until

SOON = 20.0  # seconds; on a quiet machine it is below 4, on a busy one twice that


def counted(folder: Path) -> int:
    """Return how far the script step.py has counted."""
    return int(wait_until(lambda: (folder / "count").read_text()))


class TestDeviceServerKilled:
    def test_another_one_serves_soon_and_the_script_never_notices(self, station, tmp_path):
        made = station()
        uid = made.oet.ready("step.py", str(tmp_path))
        made.oet.start(uid)
        pid = made.wait_for(uid, "RUNNING")["os_pid"]
        created = psutil.Process(pid).create_time()
        seconds = made.kill_device_server()
        assert seconds < SOON
        summary = made.oet.summary(uid)
        assert (summary["state"], summary["os_pid"]) == ("RUNNING", pid)
        assert psutil.Process(pid).create_time() == created
        before = counted(tmp_path)
        wait_until(lambda: counted(tmp_path) > before, what="it counts on")
        (tmp_path / "end").touch()
        made.wait_for(uid, "COMPLETE")
        assert gapless(made.events())

    def test_what_happens_in_between_arrives_with_its_own_time(self, station, tmp_path):
        made = station()
        uid = made.oet.ready("step.py", str(tmp_path))
        made.oet.start(uid)
        made.wait_for(uid, "RUNNING")
        pid = made.oet.pid(uid)
        old = made.server.device_server()
        suspend(old.pid)  # so that the script's end falls into the time without a server
        (tmp_path / "end").touch()
        wait_until(lambda: not psutil.pid_exists(pid), what="the script has ended, and main knows")
        old.kill()
        wait_until(
            lambda: [each.pid for each in made.server.device_servers()] not in ([], [old.pid]), 30, "another one"
        )
        begun = time.time()  # it has yet to import what it needs before main can tell it anything
        wait_until(lambda: made._answers(old.pid), 30, "the other device server answers")
        summary = made.wait_for(uid, "COMPLETE")
        times = dict(summary["history"]["process_states"])
        assert times["COMPLETE"] <= begun, "main takes the time when it has seen to the rest"
        assert summary["history"]["exit"]["exit_code"] == 0
        made.wait_until_told(uid, "COMPLETE")
        events = made.events()
        assert gapless(events)
        assert [event["state"] for event in events if event["process_uid"] == uid] == [
            state for state, _ in summary["history"]["process_states"]
        ]

    @pytest.mark.long
    def test_what_the_device_filled_in_is_still_known(self, station):
        made = station()
        uid = made.oet.run("on_subarray.py")
        made.oet.recorder.wait_for_end(uid)
        before = made.oet.summary(uid)["provenance"]
        assert before["filled_in"] == {"init": {"subarray_id": 1}}
        made.kill_device_server()
        assert made.oet.summary(uid)["provenance"] == before

    @pytest.mark.long
    def test_the_newest_event_is_what_clients_read_first(self, station):
        made = station()
        uid = made.oet.run("raises.py")
        made.oet.recorder.wait_for_state(uid, "FAILED")
        before = made.proxy.lifecycleEvent, made.proxy.lifecycleSequence, made.proxy.stacktrace
        assert before[1] > 0
        made.kill_device_server()
        assert (made.proxy.lifecycleEvent, made.proxy.lifecycleSequence, made.proxy.stacktrace) == before

    @pytest.mark.long
    def test_subscriptions_recover_and_no_event_is_lost(self, station, tmp_path):
        made = station()
        uid = made.oet.ready("step.py", str(tmp_path))
        made.oet.start(uid)
        made.oet.recorder.wait_for_state(uid, "RUNNING")
        made.kill_device_server()
        (tmp_path / "end").touch()
        newest = made.wait_until_told(uid, "COMPLETE")["sequence"]
        recorder = made.oet.recorder
        # Tango's client finds out at its next heartbeat, and gets the current value with the new subscription.
        wait_until(lambda: newest in recorder.values("lifecycleSequence"), 40, "the subscription is back")
        later = made.oet.run("quick.py")
        assert recorder.wait_for_end(later, 20)["state"] == "COMPLETE"

    def test_requests_work_on_what_was_prepared_before(self, station):
        made = station(**UNHURRIED)
        ready = made.oet.ready("quick.py")
        sleeping = made.oet.ready("waits.py")
        made.oet.start(sleeping)
        made.wait_for(sleeping, "RUNNING")
        made.kill_device_server()
        made.oet.stop(sleeping)
        assert made.wait_for(sleeping, "STOPPED")["history"]["exit"]["signals_sent"] == ["SIGTERM"]
        made.oet.start(ready)
        assert made.wait_for(ready, "COMPLETE")
        assert made.oet.run("quick.py") == sleeping + 1

    @pytest.mark.long
    @pytest.mark.parametrize("heard", [True, False], ids=["recorded", "while no server listens"])
    def test_a_start_that_was_dropped_is_told_once(self, station, tmp_path, heard):
        made = station()
        busy, late = made.oet.running("waits.py"), made.oet.prepare("late.py", str(tmp_path))
        made.oet.start(late, force=True)
        made.oet.recorder.wait_for_state(late, "INITIALISING")
        if not heard:
            suspend(made.server.device_server().pid)
        (tmp_path / "go").touch()
        if heard:
            wait_until(lambda: made.oet.recorder.states(late)[-2:] == ["READY", "READY"], 10, "it was dropped")
        made.kill_device_server()
        wait_until(lambda: any(each["previous"] == each["state"] for each in made.events()), 20, "it is told")
        said = f"The start of main of procedure {late} was dropped"
        for _ in range(2):
            reason = f"the start of main was dropped, since procedure {busy} was RUNNING"
            events = made.events()
            assert gapless(events)
            dropped = [event for event in events if event["previous"] == event["state"]]
            assert [(event["process_uid"], event["reason"]) for event in dropped] == [(late, reason)]
            (told,) = made.oet.summary(late)["history"]["dropped_starts"]
            assert told == {"time": dropped[0]["time"], "reason": reason}
            wait_until(lambda: said in made.proxy.Status(), 10, "Status says so")
            made.kill_device_server()

    @pytest.mark.long
    def test_a_crash_loop_backs_off_and_ends_with_a_clear_line_if_nobody_needs_it(self, station):
        faster = "keeper._FIRST_PAUSE, keeper._LONGEST_PAUSE, keeper._CRASHES_IN_A_ROW = 0.05, 0.2, 3"
        made = station(python_with(faster))
        # Not a number of times: one that starts anew by itself, as decision 11 has it, is one of those in a row.
        while not made.server.has_ended:
            made.kill_device_server(may_be_last=True)
        assert made.server.wait() == 1
        log = made.server.log_text()
        assert re.search(r"crashed 4 times in a row, last with (signal 9 \(SIGKILL\)|exit code 1): giving up", log)
        assert [line.rpartition("again in ")[2] for line in log.splitlines() if "started again in" in line] == [
            "0.05 s",
            "0.1 s",
            "0.2 s",
        ]

    @pytest.mark.long
    def test_one_that_hangs_does_not_keep_the_server_from_ending(self, station):
        made = station(**UNHURRIED)
        uid = made.oet.ready("quick.py")
        suspend(made.server.device_server().pid)
        made.server.process.send_signal(signal.SIGTERM)
        assert made.server.wait() == 0
        assert "does not end: it is killed" in made.server.log_text()
        made.start()
        assert made.wait_for(uid, "STOPPED")["history"]["exit"]["reason"] == "the server was shut down"

    @pytest.mark.long
    def test_the_scripts_of_a_device_that_has_left_the_database_are_ended_by_the_next(self, station, scripts, tmp_path):
        made = station()
        second = f"mid-oet/{made.instance}/02"
        made.database.add_server(made.instance, {second: {"ScriptRoots": [scripts], "StopGracePeriod": 0.5}})
        made.kill_device_server()
        other = Oet(made.database, second, made.server)
        uid = other.ready("step.py", str(tmp_path))
        other.start(uid)
        other.recorder.wait_for_state(uid, "RUNNING")
        pid = other.pid(uid)
        other.close()
        made.database.tango.delete_device(second)
        made.kill_device_server()
        wait_until(lambda: not is_alive(pid), what="the script has ended")
        wait_until(lambda: made.health() == "OK", 20, "healthState is OK")


class TestMainKilled:
    def test_no_process_survives_and_the_truth_is_told(self, station, tmp_path):
        made = station()
        oet = made.oet
        path = tmp_path / "children"
        running = oet.run("children.py", path=str(path), count=3, session=True)
        made.wait_for(running, "RUNNING")
        children = list(map(int, wait_until(lambda: path.exists() and path.read_text()).split()))
        ready = oet.ready("quick.py")
        ended = oet.ready("quick.py")
        oet.stop(ended)
        oet.recorder.wait_for_end(ended)  # behind the commit, as all that was before it
        pid = oet.pid(running)

        before = made.kill_main(wait=False)
        wait_until(lambda: not any(is_alive(each) for each in (pid, *children)), 20, "the script's processes are gone")
        wait_until(lambda: not any(is_alive(process.pid) for process in before), 20, "all processes are gone")

        made.start()
        states = {summary["id"]: summary["state"] for summary in oet.summaries()}
        assert states == {running: "FAILED", ready: "FAILED", ended: "STOPPED"}
        reason = oet.summary(running)["history"]["exit"]["reason"]
        assert reason.startswith("server restarted while the procedure was RUNNING")
        assert "while the procedure was READY" in oet.summary(ready)["history"]["exit"]["reason"]
        assert reason in made.proxy.stacktrace or "READY" in made.proxy.stacktrace
        assert gapless(made.events())
        assert oet.run("quick.py") == ended + 1

    def test_what_escaped_is_reaped_before_the_device_is_there(self, station, tmp_path):
        """The device server dies in the same moment, so that nobody is left to clean up."""
        made = station()
        path = tmp_path / "daemon"
        uid = made.oet.run("daemon.py", path=str(path))
        daemon = int(wait_until(lambda: path.exists() and path.read_text()))
        made.wait_for(uid, "RUNNING")
        suspend(made.server.device_server().pid)
        device_server = made.server.device_server()
        before = [process.pid for process in made.kill_main(wait=False) if process.pid != daemon]
        device_server.kill()
        # Else the next device server might find, and reap, the worker, too.
        wait_until(lambda: not any(map(is_alive, before)), 20, "all processes but the daemon are gone")
        assert is_alive(daemon)
        made.start()
        assert not is_alive(daemon)
        summary = made.oet.summary(uid)
        assert summary["state"] == "FAILED"
        assert summary["history"]["exit"]["reaped"] == [daemon]
        assert f"process {daemon} was reaped" in summary["history"]["exit"]["reason"]

    @pytest.mark.long
    def test_twice_says_it_once(self, station):
        made = station()
        uid = made.oet.ready("quick.py")
        for _ in range(2):
            made.kill_main()
            made.start()
        states = [state for state, _ in made.oet.summary(uid)["history"]["process_states"]]
        assert states.count("FAILED") == 1
        assert gapless(made.events())


class TestEndedOnPurpose:
    @pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
    def test_scripts_are_stopped_and_that_is_remembered(self, station, signum):
        made = station(**UNHURRIED)
        uid = made.oet.run("waits.py")
        made.wait_for(uid, "RUNNING")
        assert made.server.stop(signum) == 0
        made.start()
        summary = made.oet.summary(uid)
        assert summary["state"] == "STOPPED"
        assert summary["history"]["exit"]["reason"] == "the server was shut down"

    def test_ids_events_and_requests_go_on(self, station):
        made = station()
        began = time.time()
        first = made.oet.run("quick.py")
        made.wait_until_told(first, "COMPLETE")
        events = made.events()
        requests = requests_since(made.proxy, began)
        made.server.stop()
        made.start()
        assert made.events() == events
        assert json.loads(made.proxy.Requests("")) == requests
        began = time.time()
        second = made.oet.run("quick.py")
        assert second == first + 1
        made.wait_for(second, "COMPLETE")
        assert gapless(made.events())
        assert requests_since(made.proxy, began)[0]["number"] == requests[0]["number"] + 1

    def test_the_summary_is_what_it_was(self, station):
        made = station()
        uid = made.oet.run("raises.py")
        made.oet.recorder.wait_for_state(uid, "FAILED")
        before = made.oet.summary(uid)
        made.server.stop()
        made.start()
        after = made.oet.summary(uid)
        for each in (before, after):
            each["history"]["stacktrace"] = each["history"]["stacktrace"].splitlines()[:3]
        assert after == before
