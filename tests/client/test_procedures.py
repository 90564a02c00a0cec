"""What both clients do with procedures: the same sentences for the synchronous and the asynchronous one."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path

import pytest
from support.waiting import wait_until

from ska_oet_device.client import (
    Busy,
    ClosedError,
    InvalidState,
    NotReached,
    ProcedureFailed,
    ProcedureState,
    ProcedureStopped,
    RefusedError,
    ScriptNotFound,
    StartDropped,
    TooLarge,
    UnknownProcedure,
    arguments,
)
from ska_oet_device.client import _following as following

OWN = Path(__file__).parent / "scripts"


class TestOutcome:
    def test_a_run_is_waited_for_and_its_result_is_there(self, either):
        procedure = either.run("gives.py", 1, (2, 3), init=arguments("a", dwell=2), band="5a")
        summary = procedure.wait(timeout=20)
        assert summary.state is ProcedureState.COMPLETE
        assert summary.result == {"init": [["a"], {"dwell": 2}], "main": [[1, [2, 3]], {"band": "5a"}]}
        assert [call.function for call in summary.calls] == ["init", "main"]
        assert {asked.user for asked in summary.requested_by} == {"tester"}

    def test_prepare_and_start_are_two_steps(self, either):
        procedure = either.prepare("good.py")
        assert procedure.wait("READY", timeout=20).state == "READY"
        assert procedure.start("calibrate", source="3C286").id == procedure.id
        procedure.wait("RUNNING", "READY", timeout=20)
        procedure.wait("READY", timeout=20)
        procedure.start().wait(timeout=20)
        assert procedure.state is ProcedureState.COMPLETE

    def test_a_script_that_raises_raises_here_with_its_reason_and_traceback(self, either):
        with pytest.raises(ProcedureFailed, match=r"is FAILED: .*wrong on purpose") as raised:
            either.run("raises.py", "wrong on purpose").wait(timeout=20)
        assert "wrong on purpose" in raised.value.reason
        assert "raises.py" in raised.value.traceback

    def test_a_stop_ends_a_wait_and_says_why(self, either):
        procedure = either.run("sleepy.py")
        procedure.wait("RUNNING", timeout=20)
        assert procedure.stop("clouds") == []
        with pytest.raises(ProcedureStopped, match="clouds"):
            procedure.wait(timeout=20)
        assert procedure.wait("STOPPED").state == "STOPPED"

    def test_the_active_procedure_is_stopped_without_naming_it(self, either):
        procedure = either.run("sleepy.py")
        procedure.wait("RUNNING", timeout=20)
        assert either.active.id == procedure.id
        either.stop("enough")
        assert procedure.wait("STOPPED", timeout=20).reason == "stopped on request: enough"
        with pytest.raises(InvalidState, match="no procedure is alive"):
            either.stop()

    def test_what_has_ended_otherwise_than_waited_for_is_an_error(self, either):
        procedure = either.prepare("good.py")
        procedure.wait("READY", timeout=20)
        procedure.start().wait(timeout=20)
        with pytest.raises(NotReached):
            procedure.wait("PREP_ENV", timeout=20)

    def test_a_wait_that_takes_too_long_says_how_things_stand(self, either):
        procedure = either.run("sleepy.py")
        procedure.wait("RUNNING", timeout=20)
        with pytest.raises(
            TimeoutError, match=rf"procedure {procedure.id} \(file://sleepy.py\) is RUNNING after 0.1 s"
        ):
            procedure.wait(timeout=0.1)

    def test_a_start_that_is_dropped_ends_the_wait_also_if_it_was_before(self, either):
        first = either.run("sleepy.py")
        first.wait("RUNNING", timeout=20)
        second = either.run("good.py")
        with pytest.raises(StartDropped, match=r"was not started: .*procedure") as raised:
            second.wait(timeout=20)
        assert raised.value.summary.state == "READY"
        with pytest.raises(StartDropped):
            second.wait(timeout=20)
        with pytest.raises(Busy):
            second.start()
        first.stop()
        with pytest.raises(ProcedureStopped):
            first.wait(timeout=20)
        assert second.start().wait(timeout=20).state == "COMPLETE"

    def test_ready_is_reached_when_what_was_asked_for_has_returned(self, either):
        procedure = either.prepare("sleepy.py")
        for seconds in (0.05, 0.1):
            procedure.start("nap", seconds)  # ahead of time: READY comes once before it
        states = [state for state, _ in procedure.wait("READY", timeout=20).states]
        assert states[-5:] == ["READY", "RUNNING", "READY", "RUNNING", "READY"]
        assert [state for state, _ in procedure.wait("READY", timeout=20).states] == states
        procedure.start("nap", 0.05)
        assert procedure.wait("RUNNING", "READY", timeout=20).calls[-1].args == [0.05]
        assert len(procedure.wait("READY", timeout=20).states) == len(states) + 2
        procedure.stop()

    def test_a_start_that_is_dropped_is_not_taken_for_one_that_has_returned(self, either, tmp_path):
        first = either.run("sleepy.py")
        first.wait("RUNNING", timeout=20)
        go = tmp_path / "go"
        second = either.prepare("late.py", str(go))
        second.start("nap", 0.1)  # ahead of time, whatever that takes: it would be refused at once if it were READY
        threading.Timer(0.5, go.touch).start()
        with pytest.raises(StartDropped):
            second.wait("READY", timeout=20)
        for procedure in (first, second):
            procedure.stop()

    def test_a_state_that_does_not_exist_is_no_state(self, either):
        procedure = either.run("good.py")
        with pytest.raises(ValueError, match="FINISHED"):
            procedure.wait("FINISHED")
        procedure.wait(timeout=20)


class TestLater:
    def test_a_procedure_is_found_by_its_id_and_by_its_run_id(self, either):
        ran = either.run("good.py")
        ran.wait(timeout=20)
        for which in (ran.id, ran.run_id):
            found = either.procedure(which)
            assert (found.id, found.run_id, found.script) == (ran.id, ran.run_id, "file://good.py")
            assert found.wait().state == "COMPLETE"
        assert ran.id in [procedure.id for procedure in either.procedures()]
        assert (ran.id, "COMPLETE") in [(summary.id, summary.state) for summary in either.summaries()]

    @pytest.mark.parametrize("which", [987654, "0199ffff-0000-7000-8000-000000000000"], ids=["id", "run_id"])
    def test_a_procedure_that_never_was_is_unknown(self, either, which):
        with pytest.raises(UnknownProcedure):
            either.procedure(which)

    def test_the_history_and_the_audit_are_read_page_by_page(self, either, monkeypatch):
        monkeypatch.setattr("ska_oet_device.client._steps._ROWS", 2)
        ids = []
        for _ in range(5):
            procedure = either.run("good.py")
            procedure.wait(timeout=20)
            ids.insert(0, procedure.id)
        wait_until(lambda: [request.process_uid for request in either.requests(limit=5)] == ids, what="the audit")
        assert {(request.command, request.user) for request in either.requests(limit=5)} == {("Run", "tester")}
        assert [summary.id for summary in either.history(script="good.py", limit=5)] == ids
        assert [summary.id for summary in either.history(limit=3)] == ids[:3]


def _when_events_have_looked(monkeypatch, act):
    """Do something once events of a procedure that was looked up know how it stands: what comes then is for them."""
    look = following.summary

    def summary(*args, **more):
        known = yield from look(*args, **more)
        monkeypatch.undo()
        act()
        return known

    monkeypatch.setattr(following, "summary", summary)


class TestEvents:
    def test_all_events_of_a_procedure_are_yielded_also_those_before(self, either):
        procedure = either.run("good.py")
        procedure.wait(timeout=20)
        events = list(procedure.events(timeout=20))
        assert [event.state for event in events] == [
            "CREATING",
            "IDLE",
            "LOADING",
            "IDLE",
            "INITIALISING",
            "READY",
            "RUNNING",
            "READY",
            "COMPLETE",
        ]
        assert {event.run_id for event in events} == {procedure.run_id}

    def test_of_a_procedure_that_was_looked_up_the_events_are_those_from_now_on(self, either, monkeypatch, tmp_path):
        end = tmp_path / "end"
        procedure = either.run("until.py", str(end))
        procedure.wait("RUNNING", timeout=20)
        _when_events_have_looked(monkeypatch, end.touch)
        assert [event.state for event in either.procedure(procedure.id).events(timeout=20)] == ["READY", "COMPLETE"]
        assert list(either.procedure(procedure.id).events()) == []

    def test_what_a_looked_up_procedure_had_behind_it_is_no_event_of_it_though_the_history_tells_it_later(
        self, either, server, monkeypatch, tmp_path
    ):
        procedure = either.prepare("until.py")
        procedure.wait("READY", timeout=20)
        somebody = sqlite3.connect(
            server.state_folder / "history.sqlite3", isolation_level=None, check_same_thread=False
        )
        somebody.execute("BEGIN EXCLUSIVE")
        release = threading.Timer(0.7, somebody.rollback)
        end = tmp_path / "end"
        try:
            procedure.start("main", str(end))
            wait_until(lambda: procedure.summary().state == "RUNNING", 20)  # of which no event tells yet
            looked_up = either.procedure(procedure.id)
            _when_events_have_looked(monkeypatch, lambda: (release.start(), end.touch()))
            assert [event.state for event in looked_up.events(timeout=20)] == ["READY", "COMPLETE"]
        finally:
            release.cancel()
            somebody.close()

    def test_the_events_of_all_are_followed_from_any_number_on(self, either):
        first, second = either.run("good.py"), None
        first.wait(timeout=20)
        start = next(first.events(timeout=20)).sequence
        second = either.run("good.py")
        followed = either.follow(since=start - 1, timeout=20)
        events = [next(followed) for _ in range(18)]
        followed.close()
        assert [event.sequence for event in events] == list(range(start, start + 18))
        assert [event.process_uid for event in events] == [first.id] * 9 + [second.id] * 9

    def test_following_ends_when_the_time_is_over(self, either):
        with pytest.raises(TimeoutError):
            next(either.follow(timeout=0.1))

    def test_progress_is_followed_until_the_end(self, either):
        procedure = either.run("reports.py", steps=4)
        reported = list(procedure.follow_progress(timeout=20))
        assert (reported[-1].percent, reported[-1].activity) == (100.0, "step 4")
        halves = [item for item in reported if item.activity and item.percent != 25 * int(item.activity[-1])]
        assert halves == [], "percent and activity belong together"
        percents = [progress.percent for progress in reported if progress.percent is not None]
        assert percents == sorted(percents)
        assert procedure.progress.percent == 100.0

    def test_however_fast_it_reports_percent_and_activity_belong_together(self, either):
        # A report stands long enough to be read twice by a busy machine, too: where readings all differ one is taken.
        procedure = either.run("reports.py", steps=100, pause=0.02)
        reported = [item for item in procedure.follow_progress(timeout=20) if item.activity or item.percent]
        halves = [item for item in reported if f"step {round(item.percent or 0)}" != item.activity]
        assert halves == []
        assert reported[-1].activity == "step 100"

    def test_events_and_progress_are_followed_together(self, either, tmp_path):
        # What has ended before it is followed tells of its end, and of no progress.
        procedure = either.run("reports.py", steps=2, until=str(tmp_path / "end"))
        first = next(procedure.events()).sequence
        followed = either.follow(progress=True, since=first - 1, timeout=20)
        seen = []
        for item in followed:
            seen.append(item)
            if getattr(item, "percent", None) and item.process_uid == procedure.id:
                (tmp_path / "end").touch()
            if getattr(item, "state", None) == "COMPLETE":
                break
        followed.close()
        assert [item.percent for item in seen if getattr(item, "percent", None) and item.process_uid == procedure.id]
        assert "RUNNING" in [getattr(item, "state", None) for item in seen]


class TestOutput:
    def test_what_was_printed_is_there(self, either):
        procedure = either.run("prints.py", 3, "a line")
        procedure.wait(timeout=20)
        assert "".join(procedure.output()) == "a line 0\na line 1\na line 2\n"

    @pytest.mark.parametrize("_round", range(3))
    def test_output_that_is_followed_ends_with_its_procedure(self, either, _round):
        procedure = either.run("prints.py", 2)
        assert "".join(procedure.output(follow=True, timeout=20)) == "line 0\nline 1\n"
        assert procedure.state == "COMPLETE"

    def test_it_comes_while_the_script_runs(self, either):
        procedure = either.run("prints.py", 1, end=30)
        output = procedure.output(follow=True, timeout=20)
        assert next(output) == "line 0\n"
        assert not procedure.state.is_terminal
        output.close()

    def test_that_of_a_procedure_that_waits_comes_by_its_end(self, either):
        first = either.run("sleepy.py", 1)
        first.wait("RUNNING", timeout=20)
        second = either.prepare("prints.py")
        second.wait("READY", timeout=20)
        first.wait(timeout=20)
        second.start("main", 2)
        assert "".join(second.output(follow=True, timeout=20)) == "line 0\nline 1\n"

    def test_no_character_is_cut_between_two_pages(self, either, monkeypatch):
        monkeypatch.setattr("ska_oet_device.client._following._PAGE", 7)
        procedure = either.run("prints.py", 5, "Größe ∂ 🌌")
        procedure.wait(timeout=20)
        pieces = list(procedure.output())
        assert "".join(pieces) == "".join(f"Größe ∂ 🌌 {number}\n" for number in range(5))
        assert len(pieces) > 5

    def test_it_stops_waiting_when_the_time_is_over(self, either):
        procedure = either.run("sleepy.py")
        with pytest.raises(TimeoutError):
            list(procedure.output(follow=True, timeout=0.2))


class TestCheck:
    def test_a_script_is_checked_and_nothing_of_it_is_run(self, either):
        before = [procedure.id for procedure in either.procedures()]
        report = either.check("good.py", args=arguments(scans=3), timeout=20)
        assert report.ok
        assert report.reason is None
        assert report.functions["main"].docstring == "Observe."
        assert report.functions["main"].parameters["properties"]["scans"] == {"default": 0}
        assert [procedure.id for procedure in either.procedures()] == before

    def test_what_is_wrong_stands_in_the_report(self, either):
        assert "no file" in either.check("nowhere.py", timeout=20).reason
        assert "scams" in either.check("good.py", args=arguments(scams=3), timeout=20).reason

    def test_a_check_that_takes_too_long_is_given_up(self, either):
        with pytest.raises(TimeoutError, match=r"has no report after 0.2 s"):
            either.check("hangs_at_import.py", timeout=0.2)


def _newest_number(client, procedure):
    """Return the number of the newest entry of the audit once that is the one of this procedure's request."""

    def newest():
        return [each.number for each in client.requests(limit=1) if each.process_uid == procedure.id]

    (number,) = wait_until(newest, what="the audit has it")
    return number


class TestRefusals:
    def test_each_reason_has_a_class(self, either):
        with pytest.raises(ScriptNotFound, match="nowhere") as raised:
            either.run("nowhere.py")
        assert raised.value.reason == "OET_ScriptNotFound"
        assert "[OET_" not in str(raised.value)

    def test_what_is_too_large_is_refused_by_the_device(self, either):
        with pytest.raises(TooLarge):
            either.run("gives.py", "x" * 2**20)

    def test_what_json_does_not_know_is_named_before_anything_is_asked(self, either):
        newest = _newest_number(either, either.prepare("gives.py"))
        with pytest.raises(ValueError, match="argument 2 of main: nan is no number"):
            either.run("gives.py", 1, float("nan"))
        with pytest.raises(TypeError, match="argument when of init: JSON knows no set"):
            either.prepare("gives.py", when={1})
        assert _newest_number(either, either.prepare("gives.py")) == newest + 1

    def test_a_name_is_found_however_it_is_written(self, either):
        name = "odd näme 100%.py"
        for script in (name, OWN / name, str(OWN / name)):
            assert either.run(script).wait(timeout=20).result == str(OWN / name)

    def test_the_scripts_there_are_can_be_run_as_they_are_listed(self, either):
        listed = either.available_scripts()
        assert {"gives.py", "good.py", "odd näme 100%.py"} <= set(listed)
        for name in [name for name in listed if name.startswith("odd")]:
            assert either.run(name).wait(timeout=20).result == str(OWN / name)

    def test_the_environments_and_the_health_are_told(self, either):
        assert either.environments() == []

        def is_well() -> bool:
            told = either.health()
            return (told.health, told.state) == ("OK", "ON")

        wait_until(is_well, what="it is OK, also where the disk was slow a moment ago")
        with pytest.raises(RefusedError):
            either.remove_environment("none")


class TestEnd:
    def test_a_client_that_was_closed_says_so(self, either):
        procedure = either.run("good.py")
        procedure.wait(timeout=20)
        either.close()
        either.close()
        for use in (procedure.wait, procedure.summary, either.procedures, lambda: either.run("good.py")):
            with pytest.raises(ClosedError):
                use()

    def test_an_iterator_that_is_dropped_stops_listening(self, either):
        procedure = either.run("sleepy.py")
        events = procedure.events()
        next(events)
        inner = getattr(either, "_inner", either)
        assert len(inner._feed._listeners) == 1
        events.close()
        assert len(inner._feed._listeners) == 0

    def test_a_wait_is_quick(self, either):
        either.run("good.py").wait(timeout=20)
        took = []
        for _ in range(3):  # the machine may be busy meanwhile
            began = time.monotonic()
            either.run("good.py").wait(timeout=20)
            took.append(time.monotonic() - began)
        # What a wait has missed is pushed again after 1 and 5 s, and Tango's heartbeat looks every 10 s.
        assert min(took) < 5
