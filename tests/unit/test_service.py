"""ScriptExecutionService: the use cases, with a fake link where main and its processes would be."""

from __future__ import annotations

import random
import threading
import uuid
from typing import Any

import pytest

from ska_oet_device.config import Settings
from ska_oet_device.errors import (
    BusyError,
    InvalidArgumentError,
    InvalidStateError,
    NotAllowedError,
    NotConnectedError,
    OetError,
    ScriptNotFoundError,
    TooManyError,
    UnknownProcedureError,
)
from ska_oet_device.event import Bus, topics
from ska_oet_device.procedure.application import (
    Active,
    Caller,
    Change,
    PrepareProcessCommand,
    ProcedureHistory,
    Progress,
    ScriptExecutionService,
    Snapshot,
    StartProcessCommand,
    StopProcessCommand,
)
from ska_oet_device.procedure.domain import (
    FileSystemScript,
    GitScript,
    ProcedureInput,
    ProcedureState,
    may_follow,
)
from ska_oet_device.procedure.history import MemoryHistory
from ska_oet_device.procedure.messages import LifecycleMessage, ProvenanceMessage
from ska_oet_device.procedure.turns import Obstacle

S = ProcedureState
LIFECYCLE, OPERATOR = topics.procedure.lifecycle, topics.operator.wait_for_qa_ready
TO_READY = (S.IDLE, S.LOADING, S.IDLE, S.READY)
NONE = ProcedureInput()
ADA = Caller("python pid 4711", "Ada")
DEVICE = "mid-oet/subarray/01"


class FakeLink:
    """Stands where the link to main would: takes down what is asked, and reports what tests let happen."""

    def __init__(self, service: ScriptExecutionService) -> None:
        self._bus = service.bus
        self.asked: list[tuple[Any, ...]] = []
        self.launches: dict[int, Any] = {}
        management = topics.procedure.management
        self.acknowledged: list[int] = []
        self._bus.subscribe(self._acknowledged, LIFECYCLE.acknowledged)
        self._bus.subscribe(self._create, management.create)
        self._bus.subscribe(self._run, management.run)
        self._bus.subscribe(self._stop, management.stop)

    def _create(self, msg_src, load):
        self.launches[msg_src] = load
        self.asked.append(("create", msg_src))

    def _run(self, msg_src, call, run_args, force_start, context, after=None):
        self.asked.append(("run", msg_src, call, force_start, after))

    def _stop(self, msg_src):
        self.asked.append(("stop", msg_src))

    def enter(self, pid: int, *states: ProcedureState, **details: Any) -> None:
        for state in states:
            self._bus.publish(LIFECYCLE.statechange, message=LifecycleMessage(pid, state, **details))

    def drop_start(self, pid: int, running: int, *, reserved: bool = False, **details: Any) -> None:
        self.enter(pid, S.READY, reason=Obstacle(running, reserved).drop("main"), **details)

    def _acknowledged(self, number):
        self.acknowledged.append(number)

    def say(self, pid: int, topic: str, **data: Any) -> None:
        self._bus.publish(topics.script.message, msg_src=pid, topic=topic, data=data, time=1.0)


class Dashboard:
    """Keeps every recorded change, as clients are told of them."""

    def __init__(self, bus: Bus) -> None:
        self.changes: list[Change] = []
        bus.subscribe(self._recorded, LIFECYCLE.recorded)

    def _recorded(self, msg_src, change):
        assert change.event.process_uid == msg_src
        self.changes.append(change)


@pytest.fixture
def root(tmp_path):
    for name in ("hello.py", "abort.py"):
        (tmp_path / name).write_text("def main():\n    pass\n")
    return tmp_path


@pytest.fixture
def service(root):
    return ScriptExecutionService(
        device=DEVICE, uri=lambda: "tango://host:10000/" + DEVICE, settings=Settings(script_roots=(str(root),))
    )


@pytest.fixture
def link(service):
    return FakeLink(service)


@pytest.fixture
def dashboard(service, link):
    return Dashboard(service.bus)


HELLO = PrepareProcessCommand(FileSystemScript("file://hello.py"), ProcedureInput(1, a=2))
ABORT = FileSystemScript("file://abort.py")


def prepared(service: ScriptExecutionService, link: FakeLink, *states: ProcedureState) -> int:
    pid = service.prepare(HELLO).id
    link.enter(pid, *(states or TO_READY))
    return pid


def running(service: ScriptExecutionService, link: FakeLink, fn_name: str = "main") -> int:
    pid = prepared(service, link)
    service.start(StartProcessCommand(pid, fn_name, NONE))
    link.enter(pid, S.RUNNING, fn_name=fn_name)
    return pid


def state_of(service: ScriptExecutionService, pid: int) -> ProcedureState:
    return service.summarise([pid])[0].state


class Unchanged:
    """With this, nothing that clients see may change, and nothing may be asked of main."""

    def __init__(self, service: ScriptExecutionService, link: FakeLink) -> None:
        self._look = lambda: (service.snapshot(), list(link.asked), service.history.last_sequence)

    def __enter__(self) -> None:
        self._before = self._look()

    def __exit__(self, *exc: object) -> None:
        assert self._look() == self._before


class TestPrepare:
    def test_returns_at_once_with_a_summary_of_what_is_being_created(self, service, link, root):
        summary = service.prepare(HELLO, ADA)
        assert summary.id == 1
        assert summary.state is S.CREATING
        assert summary.uri == f"tango://host:10000/{DEVICE}#1"
        assert uuid.UUID(summary.run_id).version == 7
        assert summary.provenance["path"] == str(root / "hello.py")
        assert [(capture.fn, capture.fn_args) for capture in summary.script_args] == [("init", HELLO.init_args)]
        assert [(r.command, r.client, r.user) for r in summary.requested_by] == [("Prepare", ADA.client, "Ada")]
        assert [state for state, _ in summary.history.process_states] == [S.CREATING]
        assert link.asked == [("create", 1)]

    def test_tells_main_how_to_launch_it(self, service, link, root):
        summary = service.prepare(HELLO)
        launch = link.launches[summary.id]
        assert (launch.run_id, launch.path) == (summary.run_id, str(root / "hello.py"))
        assert launch.grace == 5.0
        assert launch.timeouts["LoadTimeout"] == 60.0

    def test_it_is_recorded_before_main_hears_of_it(self, service, root):
        heard = []

        def recorded(msg_src, change):
            heard.append(("recorded", change.event.state))

        def create(msg_src, load):
            heard.append("create")

        service.bus.subscribe(create, topics.procedure.management.create)
        service.bus.subscribe(recorded, LIFECYCLE.recorded)
        service.prepare(HELLO)
        assert heard == [("recorded", S.CREATING), "create"]

    def test_ids_and_run_ids_are_never_given_twice(self, service, link):
        summaries = [service.prepare(HELLO) for _ in range(20)]
        assert [summary.id for summary in summaries] == list(range(1, 21))
        assert len({summary.run_id for summary in summaries}) == 20

    @pytest.mark.parametrize(
        ("uri", "error"),
        [
            ("file://nothing.py", ScriptNotFoundError),
            ("file://../hello.py", NotAllowedError),
            ("file:///etc/passwd", NotAllowedError),
            ("file://broken.py", InvalidArgumentError),
        ],
    )
    def test_refuses_what_cannot_be_run_and_changes_nothing(self, service, link, root, uri, error):
        (root / "broken.py").write_text("def main(:\n")
        with Unchanged(service, link), pytest.raises(error):
            service.prepare(PrepareProcessCommand(FileSystemScript(uri), NONE))

    def test_refuses_scripts_of_git_in_this_version(self, service, link):
        with Unchanged(service, link), pytest.raises(InvalidArgumentError, match="git"):
            service.prepare(PrepareProcessCommand(GitScript("git://a.py"), NONE))

    def test_refuses_more_than_max_procedures_alive(self, service, link, root):
        service.settings = Settings(script_roots=(str(root),), max_procedures=2)
        first, _ = prepared(service, link), prepared(service, link)
        with Unchanged(service, link), pytest.raises(TooManyError, match="MaxProcedures is 2"):
            service.prepare(HELLO)
        link.enter(first, S.FAILED)
        service.prepare(HELLO)


class TestStart:
    def test_asks_main_to_call_the_function(self, service, link):
        pid = prepared(service, link)
        summary = service.start(StartProcessCommand(pid, "observe", ProcedureInput(7)), ADA)
        assert link.asked[-1] == ("run", pid, "observe", False, None)
        assert [(c.fn, c.fn_args) for c in summary.script_args[1:]] == [("observe", ProcedureInput(7))]
        assert [r.command for r in summary.requested_by] == ["Prepare", "Start"]

    @pytest.mark.parametrize("force", [False, True])
    def test_refuses_a_procedure_that_does_not_exist(self, service, link, force):
        with Unchanged(service, link), pytest.raises(UnknownProcedureError, match="99"):
            service.start(StartProcessCommand(99, "main", NONE, force))

    @pytest.mark.parametrize("states", [TO_READY[:0], TO_READY[:1], TO_READY[:2], (*TO_READY[:3], S.INITIALISING)])
    def test_refuses_one_that_is_not_ready_yet(self, service, link, states):
        pid = service.prepare(HELLO).id
        link.enter(pid, *states)
        with Unchanged(service, link), pytest.raises(InvalidStateError, match="READY"):
            service.start(StartProcessCommand(pid, "main", NONE))

    @pytest.mark.parametrize("end", [S.STOPPED, S.FAILED, S.UNKNOWN, S.COMPLETE])
    @pytest.mark.parametrize("force", [False, True])
    def test_refuses_one_that_has_ended(self, service, link, end, force):
        pid = prepared(service, link, *TO_READY, end)
        with Unchanged(service, link), pytest.raises(InvalidStateError, match=end.name):
            service.start(StartProcessCommand(pid, "main", NONE, force))

    def test_refuses_one_whose_main_has_returned(self, service, link):
        pid = running(service, link)
        link.enter(pid, S.READY)
        with Unchanged(service, link), pytest.raises(InvalidStateError, match="ending"):
            service.start(StartProcessCommand(pid, "main", NONE))

    def test_another_function_may_be_followed_by_one_more(self, service, link):
        pid = running(service, link, "calibrate")
        link.enter(pid, S.READY)
        service.start(StartProcessCommand(pid, "main", NONE))
        assert link.asked[-1] == ("run", pid, "main", False, None)

    def test_refuses_a_second_start_before_the_first_has_shown(self, service, link):
        pid = prepared(service, link)
        service.start(StartProcessCommand(pid, "main", NONE))
        with Unchanged(service, link), pytest.raises(InvalidStateError, match="being started"):
            service.start(StartProcessCommand(pid, "main", NONE))

    @pytest.mark.parametrize("force", [False, True])
    def test_refuses_while_another_is_running_and_names_it(self, service, link, force):
        busy, other = running(service, link), prepared(service, link)
        with Unchanged(service, link), pytest.raises(BusyError, match=f"procedure {busy} is RUNNING"):
            service.start(StartProcessCommand(other, "main", NONE, force))

    def test_refuses_while_another_is_being_started(self, service, link):
        first, other = prepared(service, link), prepared(service, link)
        service.start(StartProcessCommand(first, "main", NONE))
        with Unchanged(service, link), pytest.raises(BusyError):
            service.start(StartProcessCommand(other, "main", NONE))

    @pytest.mark.parametrize("end", [S.STOPPED, S.FAILED, S.UNKNOWN])
    def test_is_free_again_when_the_running_one_has_ended(self, service, link, end):
        busy, other = running(service, link), prepared(service, link)
        link.enter(busy, end)
        service.start(StartProcessCommand(other, "main", NONE))

    def test_is_free_again_when_one_ends_that_was_being_started(self, service, link):
        first, other = prepared(service, link), prepared(service, link)
        service.start(StartProcessCommand(first, "main", NONE))
        link.enter(first, S.FAILED)
        service.start(StartProcessCommand(other, "main", NONE))

    def test_may_be_asked_ahead_of_time_up_to_a_limit(self, service, link):
        pid = service.prepare(HELLO).id
        for _ in range(16):
            service.start(StartProcessCommand(pid, "f", NONE, True))
        assert link.asked[1:] == [("run", pid, "f", True, None)] * 16
        with Unchanged(service, link), pytest.raises(TooManyError, match="16"):
            service.start(StartProcessCommand(pid, "f", NONE, True))
        link.enter(pid, *TO_READY, S.RUNNING, fn_name="f")
        service.start(StartProcessCommand(pid, "f", NONE, True))

    def test_that_was_dropped_leaves_the_procedure_ready_and_says_so(self, service, link):
        pid = service.prepare(HELLO).id
        service.start(StartProcessCommand(pid, "main", NONE, True))
        link.enter(pid, *TO_READY)
        link.drop_start(pid, 77)
        assert state_of(service, pid) is S.READY
        (notice,) = service.notices().sentences
        assert f"procedure {pid}" in notice
        assert "procedure 77 was RUNNING" in notice
        service.start(StartProcessCommand(pid, "main", NONE))
        link.enter(pid, S.RUNNING, fn_name="main")
        assert service.notices().sentences == ()

    def test_that_was_dropped_is_a_lifecycle_event(self, service, link, dashboard):
        pid = prepared(service, link)
        link.drop_start(pid, 77, time=12.5)
        event, snapshot = dashboard.changes[-1].event, dashboard.changes[-1].snapshot
        reason = "the start of main was dropped, since procedure 77 was RUNNING"
        assert (event.previous, event.state, event.time, event.reason) == (S.READY, S.READY, 12.5, reason)
        history = snapshot.summaries[0].history
        assert history.process_states[-1] == (S.READY, 12.5)
        assert history.dropped_starts == ((12.5, reason),)

    def test_that_was_dropped_for_an_abort_script_says_so(self, service, link, dashboard):
        link.drop_start(prepared(service, link), 77, reserved=True)
        reason = "the start of main was dropped, since abort script 77 runs next"
        assert dashboard.changes[-1].event.reason == reason

    def test_that_was_dropped_is_told_once_however_often_main_says_it(self, service, link, dashboard):
        pid = prepared(service, link)
        for _ in range(3):
            link.drop_start(pid, 77, time=12.5, number=7)
        assert [change.event.state for change in dashboard.changes].count(S.READY) == 2
        assert link.acknowledged == [7, 7, 7]
        assert len(service.notices().sentences) == 1

    @pytest.mark.parametrize("path", [(), TO_READY[:2], (*TO_READY, S.STOPPED)])
    def test_that_was_dropped_of_what_is_not_ready_changes_nothing(self, service, link, path):
        pid = service.prepare(HELLO).id
        link.enter(pid, *path)
        with Unchanged(service, link):
            link.drop_start(pid, 77, number=8)
            link.drop_start(99, 77, number=9)
        assert link.acknowledged == [8, 9]

    def test_each_that_was_dropped_is_in_status_until_its_procedure_runs_or_ends(self, service, link):
        first, second = prepared(service, link), prepared(service, link)
        for pid in (first, second, first):
            link.drop_start(pid, 77)
        assert len(service.notices().sentences) == 3
        link.enter(first, S.RUNNING, fn_name="f")
        (left,) = service.notices().sentences
        assert f"procedure {second}" in left
        link.enter(second, S.STOPPED)
        assert service.notices().sentences == ()

    @pytest.mark.parametrize(("force", "count"), [((True,), "1 start that"), ((True, True), "2 starts that")])
    def test_that_came_to_nothing_behind_main_is_told_at_the_end(self, service, link, dashboard, force, count):
        pid = running(service, link)
        for each in force:
            service.start(StartProcessCommand(pid, "main", NONE, each))
        link.enter(pid, S.READY, S.COMPLETE, reason="completed")
        assert dashboard.changes[-1].event.reason == f"completed; {count} waited for its turn came to nothing"

    @pytest.mark.parametrize("ahead", [True, False])
    def test_that_were_all_called_are_no_matter_at_the_end(self, service, link, dashboard, ahead):
        pid = service.prepare(HELLO).id
        if not ahead:
            link.enter(pid, *TO_READY)
        for _ in range(3):
            service.start(StartProcessCommand(pid, "f", NONE, True))
        if ahead:
            link.enter(pid, *TO_READY)
        for _ in range(3):
            link.enter(pid, S.RUNNING, S.READY, fn_name="f")
        link.enter(pid, S.COMPLETE, reason="completed")
        assert dashboard.changes[-1].event.reason == "completed"


class TestRun:
    def test_prepares_and_starts_ahead_of_time(self, service, link):
        summary = service.run(HELLO, "observe", ProcedureInput(5), ADA)
        assert link.asked == [("create", summary.id), ("run", summary.id, "observe", True, None)]
        assert [c.fn for c in summary.script_args] == ["init", "observe"]
        assert {r.command for r in summary.requested_by} == {"Run"}

    def test_is_refused_as_prepare_is(self, service, link):
        with Unchanged(service, link), pytest.raises(ScriptNotFoundError):
            service.run(PrepareProcessCommand(FileSystemScript("file://nothing.py"), NONE), "main", NONE)


class TestStop:
    @pytest.mark.parametrize(
        "states", [(), TO_READY[:1], TO_READY[:2], (S.IDLE, S.PREP_ENV), (*TO_READY[:3], S.INITIALISING), TO_READY]
    )
    def test_is_never_refused_while_the_process_lives(self, service, link, states):
        pid = service.prepare(HELLO).id
        link.enter(pid, *states)
        assert service.stop(StopProcessCommand(pid), ADA) == []
        assert link.asked[-1] == ("stop", pid)
        assert service.summarise([pid])[0].requested_by[-1].command == "Stop"

    def test_a_second_one_is_harmless(self, service, link):
        pid = running(service, link)
        assert service.stop(StopProcessCommand(pid)) == []
        assert service.stop(StopProcessCommand(pid)) == []
        link.enter(pid, S.STOPPED)
        with Unchanged(service, link):
            assert service.stop(StopProcessCommand(pid)) == []

    def test_refuses_what_does_not_exist(self, service, link):
        with Unchanged(service, link), pytest.raises(UnknownProcedureError):
            service.stop(StopProcessCommand(99))

    def test_prepares_the_abort_script_to_run_when_the_first_has_ended(self, service, link):
        service.abort_script = ABORT
        pid = running(service, link)
        (abort,) = service.stop(StopProcessCommand(pid, True), ADA)
        assert link.asked[-3:] == [
            ("stop", pid),
            ("create", abort.id),
            ("run", abort.id, "main", True, pid),
        ]
        assert abort.script == ABORT
        assert abort.script_args[0].fn_args == ProcedureInput(subarray_id=1)
        assert {r.command for r in abort.requested_by} == {"Stop"}
        assert {r.user for r in abort.requested_by} == {"Ada"}

    @pytest.mark.parametrize(("run_abort", "aborts"), [(None, 1), (True, 1), (False, 0)])
    def test_follows_the_request_and_the_property(self, service, link, run_abort, aborts):
        service.abort_script = ABORT
        assert len(service.stop(StopProcessCommand(running(service, link), run_abort))) == aborts

    def test_again_does_not_abort_again(self, service, link):
        service.abort_script = ABORT
        pid = running(service, link)
        (first,) = service.stop(StopProcessCommand(pid))
        (second,) = service.stop(StopProcessCommand(pid))
        assert first.id == second.id
        assert sum(asked[0] == "create" for asked in link.asked) == 2

    def test_of_the_abort_script_does_not_abort_the_abort(self, service, link):
        service.abort_script = ABORT
        (abort,) = service.stop(StopProcessCommand(running(service, link)))
        assert service.stop(StopProcessCommand(abort.id)) == []
        assert link.asked[-1] == ("stop", abort.id)

    def test_is_not_refused_when_its_abort_script_ended_and_is_forgotten(self, service, link, root):
        service.abort_script = ABORT
        service.settings = Settings(script_roots=(str(root),), history_length=0)
        pid = running(service, link)
        (abort,) = service.stop(StopProcessCommand(pid))
        link.enter(abort.id, S.FAILED)
        assert service.stop(StopProcessCommand(pid)) == []

    def test_says_when_there_is_no_abort_script_but_one_was_asked_for(self, service, link):
        assert service.stop(StopProcessCommand(running(service, link), True)) == []
        assert "AbortScript" in service.notices().sentences[-1]

    def test_says_when_the_abort_script_cannot_be_run(self, service, link):
        service.abort_script = FileSystemScript("file://nothing.py")
        pid = running(service, link)
        assert service.stop(StopProcessCommand(pid)) == []
        assert link.asked[-1] == ("stop", pid)
        assert "nothing.py" in service.notices().sentences[-1]

    def test_the_abort_script_is_beyond_max_procedures(self, service, link, root):
        service.abort_script = ABORT
        service.settings = Settings(script_roots=(str(root),), max_procedures=1)
        assert len(service.stop(StopProcessCommand(running(service, link)))) == 1

    def test_shutdown_stops_what_lives_without_aborting(self, service, link):
        service.abort_script = ABORT
        ended, one, other = (prepared(service, link) for _ in range(3))
        link.enter(ended, S.FAILED)
        link.asked.clear()
        service.shutdown()
        assert link.asked == [("stop", one), ("stop", other)]


class TestSummarise:
    def test_returns_all_oldest_first_or_those_asked_for(self, service, link):
        pids = [prepared(service, link) for _ in range(3)]
        assert [s.id for s in service.summarise()] == pids
        assert [s.id for s in service.summarise([3, 1])] == [3, 1]
        assert service.summarise([]) == []

    def test_refuses_unknown_ids(self, service, link):
        prepared(service, link)
        with pytest.raises(UnknownProcedureError, match="99"):
            service.summarise([1, 99])

    def test_lifecycle_events_are_those_after_a_number(self, service, link):
        prepared(service, link)
        assert [event.sequence for event in service.lifecycle_events(2)] == [3, 4, 5]
        with pytest.raises(InvalidArgumentError, match="-1"):
            service.lifecycle_events(-1)


class TestChanges:
    def test_each_is_recorded_in_order_and_told_with_how_things_stand_after_it(self, service, link, dashboard):
        pid = running(service, link)
        link.enter(pid, S.READY, S.COMPLETE)
        expected = [S.CREATING, *TO_READY, S.RUNNING, S.READY, S.COMPLETE]
        events = [change.event for change in dashboard.changes]
        assert [event.state for event in events] == expected
        assert [event.previous for event in events] == [None, *expected[:-1]]
        assert [event.sequence for event in events] == list(range(1, 9))
        assert [change.snapshot.summaries[0].state for change in dashboard.changes] == expected
        assert service.lifecycle_events(0) == events
        (summary,) = service.summarise()
        assert [state for state, _ in summary.history.process_states] == expected

    def test_what_a_client_reads_after_an_event_shows_that_change(self, service, link):
        seen = []

        def recorded(msg_src, change):
            seen.append(service.summarise([msg_src])[0].state is change.event.state)
            seen.append(service.history.last_sequence == change.event.sequence)

        service.bus.subscribe(recorded, LIFECYCLE.recorded)
        pid = running(service, link)
        link.enter(pid, S.READY, S.COMPLETE)
        assert len(seen) == 16
        assert all(seen)

    def test_carry_their_time_and_reason(self, service, link, dashboard):
        pid = prepared(service, link)
        ended = {"exit_code": 1, "signal": None, "reason": "why", "signals_sent": [], "reaped": []}
        link.enter(pid, S.FAILED, time=12.5, reason="why", stacktrace="Traceback", exit=ended)
        event, snapshot = dashboard.changes[-1].event, dashboard.changes[-1].snapshot
        assert (event.time, event.reason) == (12.5, "why")
        assert snapshot.newest_failure == "Traceback"
        history = service.summarise([pid])[0].history
        assert (history.stacktrace, history.exit) == ("Traceback", ended)
        assert history.process_states[-1] == (S.FAILED, 12.5)

    def test_the_process_id_is_shown_while_there_is_one(self, service, link):
        pid = service.prepare(HELLO).id
        assert service.summarise([pid])[0].os_pid is None
        link.enter(pid, *TO_READY, os_pid=4712)
        assert service.summarise([pid])[0].os_pid == 4712
        link.enter(pid, S.STOPPED)
        assert service.summarise([pid])[0].os_pid is None

    def test_what_was_read_is_shown(self, service, link):
        pid = service.prepare(HELLO).id
        service.bus.publish(LIFECYCLE.loaded, message=ProvenanceMessage(pid, {"sha256": "abc"}))
        service.bus.publish(LIFECYCLE.loaded, message=ProvenanceMessage(99, {"sha256": "abc"}))
        assert service.summarise([pid])[0].provenance == {"sha256": "abc"}

    def test_of_unknown_procedures_are_logged_and_change_nothing(self, service, link, caplog):
        prepared(service, link)
        with Unchanged(service, link):
            link.enter(99, S.READY)
        assert "99" in caplog.text

    @pytest.mark.parametrize("state", list(S), ids=lambda state: state.name)
    @pytest.mark.parametrize(
        "path",
        [(), (S.IDLE,), TO_READY[:2], (S.IDLE, S.PREP_ENV), TO_READY, (*TO_READY, S.RUNNING), (*TO_READY, S.COMPLETE)],
        ids=lambda path: path[-1].name if path else "CREATING",
    )
    def test_that_the_table_forbids_are_logged_and_change_nothing(self, service, link, dashboard, caplog, path, state):
        pid = service.prepare(HELLO).id
        link.enter(pid, *path)
        before = state_of(service, pid)
        if may_follow(before, state):
            link.enter(pid, state)
            assert state_of(service, pid) is state
        else:
            with Unchanged(service, link):
                link.enter(pid, state)
            assert "may not follow" in caplog.text


class TestTheActiveProcedure:
    def test_is_none_before_the_first(self, service):
        assert service.snapshot().active == Active(0, S.UNKNOWN, "")

    def test_is_the_one_that_is_running_else_the_one_that_changed_last(self, service, link):
        busy = running(service, link, "observe")
        other = prepared(service, link)
        assert service.snapshot().active == Active(busy, S.RUNNING, "observe")
        link.enter(busy, S.READY)
        assert service.snapshot().active == Active(busy, S.READY, "")
        link.enter(other, S.STOPPED)
        assert service.snapshot().active == Active(other, S.STOPPED, "")

    def test_shows_init_while_it_runs(self, service, link):
        pid = prepared(service, link, *TO_READY[:3])
        link.enter(pid, S.INITIALISING, fn_name="init")
        assert service.snapshot().active == Active(pid, S.INITIALISING, "init")

    def test_reports_its_progress(self, service, link):
        pid = running(service, link)
        assert service.progress() is None
        link.say(pid, "script.progress", percent=40, activity="slewing")
        assert service.progress() == Progress(40.0, "slewing")
        link.say(pid, "another.topic", percent=50, activity="?")
        assert service.progress() == Progress(40.0, "slewing")

    @pytest.mark.parametrize(
        "data",
        [
            {},
            {"percent": 3},
            *({"percent": percent, "activity": ""} for percent in ("much", None, 150, -0.1, "nan", 10**400)),
        ],
    )
    def test_progress_that_is_none_is_logged_and_ignored(self, service, link, caplog, data):
        pid = running(service, link)
        link.say(pid, "script.progress", **data)
        assert service.progress() is None
        assert "which is none" in caplog.text

    def test_progress_that_is_none_is_logged_once_for_each_procedure(self, service, link, caplog):
        pid = running(service, link)
        for percent in range(101, 200):
            link.say(pid, "script.progress", percent=percent, activity="")
        assert caplog.text.count("which is none") == 1

    @pytest.mark.parametrize("percent", [0, 100, "42.5", -0.0])
    def test_progress_is_told_on_the_bus(self, service, link, percent):
        heard = []

        def progress(msg_src, progress, time):
            heard.append((msg_src, progress, time))

        service.bus.subscribe(progress, LIFECYCLE.progress)
        pid = running(service, link)
        link.say(pid, "script.progress", percent=percent, activity="slewing")
        assert heard == [(pid, Progress(float(percent), "slewing"), 1.0)]

    def test_the_newest_change_of_each_is_known(self, service, link, dashboard):
        first, second = prepared(service, link), prepared(service, link)
        newest = {change.event.process_uid: change.event.sequence for change in dashboard.changes}
        assert [service.newest_change(pid) for pid in (first, second, 99)] == [newest[first], newest[second], 0]


class TestTheHistoryLength:
    def test_ended_procedures_are_forgotten_oldest_first_and_living_ones_never(self, service, link, root):
        service.settings = Settings(script_roots=(str(root),), history_length=3)
        alive = prepared(service, link)
        ended = [prepared(service, link, S.IDLE, S.FAILED) for _ in range(10)]
        assert [s.id for s in service.summarise()] == [alive, *ended[-3:]]
        with pytest.raises(UnknownProcedureError):
            service.summarise([ended[0]])

    def test_the_one_that_ended_last_is_kept_however_old_it_is(self, service, link, dashboard, root):
        service.settings = Settings(script_roots=(str(root),), history_length=3)
        oldest = prepared(service, link)
        for _ in range(10):
            prepared(service, link, S.IDLE, S.FAILED)
        link.enter(oldest, S.STOPPED)
        assert oldest in {summary.id for summary in dashboard.changes[-1].snapshot.summaries}
        assert state_of(service, oldest) is S.STOPPED

    def test_the_one_that_ended_last_is_kept_though_the_clock_was_set_back(self, service, link, root):
        service.settings = Settings(script_roots=(str(root),), history_length=3)
        for moment in range(1000, 1010):
            link.enter(prepared(service, link), S.STOPPED, time=float(moment))
        newest = prepared(service, link)
        link.enter(newest, S.STOPPED, time=10.0)
        assert newest in {summary.id for summary in service.summarise()}

    def test_none_may_be_kept(self, service, link, root):
        service.settings = Settings(script_roots=(str(root),), history_length=0)
        prepared(service, link, S.IDLE, S.FAILED)
        assert service.summarise() == []
        assert service.snapshot().active == Active()

    def test_nothing_of_them_is_left_behind(self, service, link, root):
        service.settings = Settings(script_roots=(str(root),), history_length=2)
        service.abort_script = ABORT
        for _ in range(20):
            pid = service.run(HELLO, "main", NONE).id
            link.enter(pid, *TO_READY, S.RUNNING, fn_name="main")
            link.say(pid, "script.progress", percent=1, activity="")
            (abort,) = service.stop(StopProcessCommand(pid))
            link.enter(pid, S.READY, S.STOPPED)
            link.enter(abort.id, *TO_READY, S.RUNNING, S.READY, S.COMPLETE, fn_name="main")
        tables = [value for value in vars(service._procedures).values() if isinstance(value, dict)]
        assert len(tables) >= 4
        assert all(len(table) <= 2 for table in tables)


class TestWaitForQaReady:
    def test_follows_the_operators(self, service, link):
        states = []

        def state(msg_src, wait_for_qa_ready):
            states.append((msg_src, wait_for_qa_ready))

        service.bus.subscribe(state, topics.operator.override.state)
        assert service.script_context.as_data() == {"wait_for_qa_ready": False}
        service.bus.publish(OPERATOR.enable, msg_src="gui")
        assert service.script_context.as_data() == {"wait_for_qa_ready": True}
        service.bus.publish(OPERATOR.disable, msg_src="gui")
        assert service.script_context.as_data() == {"wait_for_qa_ready": False}
        assert states == [(DEVICE, True), (DEVICE, False)]

    def test_the_specifications_handlers_do_the_same(self, service):
        service.handle_wait_for_qa_ready_enable("gui")
        assert service.script_context.wait_for_qa_ready is True
        service.handle_wait_for_qa_ready_disable("gui")
        assert service.script_context.wait_for_qa_ready is False

    def test_setting_it_is_publishing_it(self, service):
        heard = []

        def enable(msg_src):
            heard.append(msg_src)

        service.bus.subscribe(enable, OPERATOR.enable)
        service.set_wait_for_qa_ready(True, "gui")
        assert heard == ["gui"]
        assert service.script_context.wait_for_qa_ready is True
        service.set_wait_for_qa_ready(False, "gui")
        assert service.script_context.wait_for_qa_ready is False

    def test_the_one_shot_signal_leaves_the_flag_alone(self, service):
        heard = []

        def override(msg_src):
            heard.append(msg_src)

        service.bus.subscribe(override, OPERATOR.override)
        service.set_wait_for_qa_ready(True, "gui")
        service.override_wait_for_qa_ready("gui")
        assert heard == ["gui"]
        assert service.script_context.wait_for_qa_ready is True


def test_a_service_that_nobody_carries_messages_for_says_so_and_changes_nothing(service):
    for ask in (service.prepare, lambda cmd: service.run(cmd, "main", NONE)):
        with pytest.raises(NotConnectedError, match="start_engine"):
            ask(HELLO)
    assert service.snapshot() == Snapshot()
    assert service.history.next_id() == 1


@pytest.mark.parametrize("seed", range(25))
def test_whatever_happens_in_whatever_order_the_record_is_gapless_and_keeps_to_the_table(root, seed):
    chance = random.Random(seed)
    service = ScriptExecutionService(
        ABORT, settings=Settings(script_roots=(str(root),), max_procedures=6, history_length=4), history=MemoryHistory()
    )
    link = FakeLink(service)
    dashboard = Dashboard(service.bus)
    for _ in range(300):
        pid = chance.randint(1, service.history.last_sequence // 3 + 2)
        try:
            chance.choice(
                [
                    lambda: service.prepare(HELLO),
                    lambda: service.run(HELLO, "main", NONE),
                    lambda pid=pid: service.start(StartProcessCommand(pid, "main", NONE, chance.random() < 0.5)),
                    lambda pid=pid: service.stop(StopProcessCommand(pid, chance.choice([None, True, False]))),
                    lambda pid=pid: link.drop_start(pid, 1),
                    *[lambda pid=pid: link.enter(pid, chance.choice(list(S)), fn_name="main")] * 8,
                ]
            )()
        except OetError:
            pass
    events = [change.event for change in dashboard.changes]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    state: dict[int, ProcedureState] = {}
    for change in dashboard.changes:
        event = change.event
        assert event.previous is state.get(event.process_uid)
        assert may_follow(event.previous, event.state)
        state[event.process_uid] = event.state
        summaries = change.snapshot.summaries
        assert [s.id for s in summaries] == sorted(s.id for s in summaries)
        assert all(s.state is state[s.id] for s in summaries)
        assert sum(s.state.is_terminal for s in summaries) <= 4
        assert {uid for uid, known in state.items() if not known.is_terminal} <= {s.id for s in summaries}
    assert {s.id for s in service.summarise()} == {s.id for s in service.snapshot().summaries}


def test_the_specifications_history_may_be_made_of_nothing_or_of_a_list():
    assert ProcedureHistory(None).process_states == ()
    assert ProcedureHistory([(S.READY, 1.5)]).process_states == ((S.READY, 1.5),)


@pytest.mark.parametrize("ask", ["prepare", "run"])
def test_a_file_system_that_hangs_keeps_nobody_from_seeing_how_things_stand(service, link, monkeypatch, ask):
    """No file system here hangs at will: looking for the script waits in its place."""
    asked, answers = threading.Event(), threading.Event()

    def hanging(script, settings):
        asked.set()
        assert answers.wait(20)
        return "/a.py"

    monkeypatch.setattr("ska_oet_device.procedure.application._service.find_script", hanging)
    arguments = (HELLO,) if ask == "prepare" else (HELLO, "main", NONE)
    client = threading.Thread(target=getattr(service, ask), args=arguments)
    client.start()
    assert asked.wait(20)
    looks = threading.Thread(target=service.snapshot)
    looks.start()
    looks.join(5)
    was_kept_waiting = looks.is_alive()
    answers.set()
    for thread in (client, looks):
        thread.join()
    assert not was_kept_waiting
    assert link.asked[0] == ("create", 1)
