"""ScriptExecutionService: the use cases, with a fake link where main and its processes would be."""

from __future__ import annotations

import ctypes
import dataclasses
import os
import random
import re
import threading
import time
import uuid
from typing import Any

import pytest
from support.waiting import wait_until

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
from ska_oet_device.files import remove_tree
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
    _finder,
    _procedure,
)
from ska_oet_device.procedure.domain import (
    FileSystemScript,
    GitScript,
    ProcedureInput,
    ProcedureState,
    may_follow,
)
from ska_oet_device.procedure.history import MemoryHistory
from ska_oet_device.procedure.hosting import _service_keeper
from ska_oet_device.procedure.messages import LifecycleMessage, ProvenanceMessage
from ska_oet_device.procedure.turns import Claim, Hold

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

    def _run(self, msg_src, call, run_args, force_start, after=None):
        self.asked.append(("run", msg_src, call, force_start, after))

    def _stop(self, msg_src, reason=""):
        self.asked.append(("stop", msg_src))

    def enter(self, pid: int, *states: ProcedureState, **details: Any) -> None:
        for state in states:
            self._bus.publish(LIFECYCLE.statechange, message=LifecycleMessage(pid, state, **details))

    def drop_start(self, pid: int, running: int, *, reserved: bool = False, **details: Any) -> None:
        self.enter(
            pid, S.READY, reason=Claim(running, Hold.RESERVED if reserved else Hold.RUNNING).drop("main"), **details
        )

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


def unkillable(*pids: int) -> dict[str, Any]:
    return {"exit_code": None, "signal": None, "reason": "", "signals_sent": [], "reaped": [], "survivors": [*pids]}


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
        with Unchanged(service, link), pytest.raises(BusyError, match=f"procedure {first} is being started; "):
            service.start(StartProcessCommand(other, "main", NONE))

    def test_refuses_while_the_process_of_a_main_that_has_returned_is_there(self, service, link):
        busy, other = running(service, link), prepared(service, link)
        link.enter(busy, S.READY)
        says = rf"procedure {busy} is still ending \(its process has not gone yet\); procedure {other} cannot"
        with Unchanged(service, link), pytest.raises(BusyError, match=says):
            service.start(StartProcessCommand(other, "main", NONE))
        link.enter(busy, S.COMPLETE)
        service.start(StartProcessCommand(other, "main", NONE))

    @pytest.mark.parametrize("fn_name", ["main", "calibrate"])
    @pytest.mark.parametrize("states", [(), (S.READY,)], ids=["running", "ready"])
    def test_refuses_while_one_that_was_called_is_being_stopped(self, service, link, fn_name, states):
        busy, other = running(service, link, fn_name), prepared(service, link)
        link.enter(busy, *states)
        service.stop(StopProcessCommand(busy))
        with Unchanged(service, link), pytest.raises(BusyError, match=f"procedure {busy} is still ending"):
            service.start(StartProcessCommand(other, "main", NONE))
        link.enter(busy, S.STOPPED)
        service.start(StartProcessCommand(other, "main", NONE))

    def test_is_not_hindered_by_the_end_of_one_that_was_never_called(self, service, link):
        stopped, other = prepared(service, link), prepared(service, link)
        service.stop(StopProcessCommand(stopped))
        service.start(StartProcessCommand(other, "main", NONE))

    def test_refuses_while_one_that_was_called_cannot_be_killed_and_names_the_process(self, service, link):
        busy, other = running(service, link), prepared(service, link)
        link.enter(busy, S.UNKNOWN, exit=unkillable(4711))
        says = f"procedure {busy} is UNKNOWN: process 4711 is alive, and this server cannot kill it"
        with Unchanged(service, link), pytest.raises(BusyError, match=says):
            service.start(StartProcessCommand(other, "main", NONE))
        link.enter(busy, S.STOPPED)
        service.start(StartProcessCommand(other, "main", NONE))

    @pytest.mark.parametrize("end", [S.STOPPED, S.FAILED])
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

    def test_without_an_id_is_decided_where_nothing_can_change_any_more(self, service, link):
        first, second = running(service, link), prepared(service, link)
        lock, asked_for = service._procedures.lock, threading.Event()

        class Watched:
            def __enter__(self):
                asked_for.set()
                lock.acquire()

            def __exit__(self, *error):
                lock.release()

        with lock:
            service._procedures.lock = Watched()
            stopping = threading.Thread(target=service.stop, args=(StopProcessCommand(None), ADA))
            stopping.start()
            assert asked_for.wait(10)
            service._procedures.lock = lock
            link.enter(first, S.READY, S.COMPLETE)
            service.start(StartProcessCommand(second, "main", NONE))
            link.enter(second, S.RUNNING)
        stopping.join(10)
        assert [each for each in link.asked if each[0] == "stop"] == [("stop", second)]
        assert (service.requests(0, 1)[0].command, service.requests(0, 1)[0].process_uid) == ("Stop", second)

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
        assert service.snapshot().active == Active(busy, S.RUNNING, "observe", HELLO.script.script_uri)
        link.enter(busy, S.READY)
        assert service.snapshot().active == Active(busy, S.READY, "", HELLO.script.script_uri)
        link.enter(other, S.STOPPED)
        assert service.snapshot().active == Active(other, S.STOPPED, "", HELLO.script.script_uri)

    def test_shows_init_while_it_runs(self, service, link):
        pid = prepared(service, link, *TO_READY[:3])
        link.enter(pid, S.INITIALISING, fn_name="init")
        assert service.snapshot().active == Active(pid, S.INITIALISING, "init", HELLO.script.script_uri)

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
        assert service.script_context.as_data() == {"wait_for_qa_ready": True, "subarray_id": 1}
        service.bus.publish(OPERATOR.disable, msg_src="gui")
        assert service.script_context.as_data() == {"wait_for_qa_ready": False, "subarray_id": 1}
        service.bus.publish(OPERATOR.enable, msg_src="gui")
        assert service.script_context.as_data() == {"wait_for_qa_ready": True, "subarray_id": 1}
        assert states == [(DEVICE, False), (DEVICE, True)]

    def test_main_is_told_of_each_change_of_what_scripts_are_given(self, service):
        told = []

        def context(context):
            told.append(context)

        service.bus.subscribe(context, topics.procedure.management.context)
        service.set_wait_for_qa_ready(False, "gui")
        service.settings = dataclasses.replace(service.settings, subarray_id=3)
        assert told == [
            {"wait_for_qa_ready": False, "subarray_id": 1},
            {"wait_for_qa_ready": False, "subarray_id": 3},
        ]

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


class TestAProcessThatIsSlow:
    @pytest.fixture(autouse=True)
    def at_once(self, monkeypatch):
        monkeypatch.setattr(_procedure, "_SHOWN_AFTER", 0.0)

    def test_to_end_behind_main_is_told_until_it_has_ended(self, service, link):
        pid = running(service, link)
        assert service.notices().sentences == ()
        link.enter(pid, S.READY)
        (notice,) = service.notices().sentences
        assert re.fullmatch(
            rf"main of procedure {pid} returned at \d\d:\d\d:\d\d UTC, but its process has not ended yet\.", notice
        )
        link.enter(pid, S.COMPLETE)
        assert service.notices().sentences == ()

    @pytest.mark.parametrize("ahead_of_time", [False, True])
    def test_to_begin_a_function_is_told_until_it_has_begun(self, service, link, ahead_of_time):
        if ahead_of_time:
            pid = service.run(HELLO, "main", NONE).id
            link.enter(pid, *TO_READY)
        else:
            pid = prepared(service, link)
            assert service.notices().sentences == ()
            service.start(StartProcessCommand(pid, "main", NONE))
        (notice,) = service.notices().sentences
        assert notice.startswith(f"Procedure {pid} was to be started at ")
        assert notice.endswith(" UTC, but its process does not answer.")
        link.enter(pid, S.RUNNING, fn_name="main")
        assert service.notices().sentences == ()

    def test_of_one_that_is_merely_ready_nothing_is_told(self, service, link):
        prepared(service, link)
        assert service.notices().sentences == ()

    def test_to_end_when_it_was_stopped_is_told_as_that_alone(self, service, link):
        pid = running(service, link)
        link.enter(pid, S.READY)
        service.stop(StopProcessCommand(pid))
        (notice,) = service.notices().sentences
        assert "is being stopped" in notice


class TestAProcedureThatCannotBeKilled:
    def unknown(self, service, link) -> int:
        pid = running(service, link)
        link.enter(pid, S.UNKNOWN, reason="process 4711 is another user's", os_pid=4711, exit=unkillable(4711))
        return pid

    def test_is_stopped_once_more_without_another_abort_script(self, service, link):
        pid = self.unknown(service, link)
        service.abort_script = ABORT
        assert service.stop(StopProcessCommand(pid, True)) == []
        assert link.asked[-1] == ("stop", pid)
        assert service.notices().sentences == (f"Procedure {pid} is sent SIGKILL once more.",)
        link.enter(pid, S.STOPPED)
        assert service.notices().sentences == ()

    def test_is_told_once_more_with_what_its_process_has_left_behind(self, service, link, dashboard):
        pid = self.unknown(service, link)
        link.enter(pid, S.UNKNOWN, reason="process 4712 is another user's", exit=unkillable(4712))
        summary = service.summarise([pid])[0]
        assert (summary.os_pid, summary.history.exit["survivors"]) == (None, [4712])
        assert summary.history.dropped_starts == ()
        event = dashboard.changes[-1].event
        assert (event.previous, event.state) == (S.UNKNOWN, S.UNKNOWN)
        assert event.reason == "process 4712 is another user's"
        assert service.snapshot().failure.reason == event.reason
        assert service.notices().sentences == ()

    def test_keeps_its_abort_script_from_running_and_what_is_to_be_done_is_said(self, service, link):
        service.abort_script = ABORT
        pid = running(service, link)
        (abort,) = service.stop(StopProcessCommand(pid, True))
        link.enter(abort.id, *TO_READY)
        link.enter(pid, S.UNKNOWN, reason="process 4711 is another user's", os_pid=4711, exit=unkillable(4711))
        link.enter(abort.id, S.READY, reason=Claim(pid, Hold.UNKNOWN, (4711,)).drop("main"))
        assert link.asked[-1] == ("stop", abort.id)
        assert service.notices().abort_failed == (
            f"The start of main of procedure {abort.id} was dropped, since procedure {pid} is UNKNOWN: process 4711 is"
            " alive, and this server cannot kill it; its owner or root must, so the abort script has not run. Do by"
            " hand what it does, or run it (file://abort.py) once that procedure has ended."
        )

    def test_is_no_failure_any_more_when_it_is_stopped_after_all(self, service, link):
        pid = self.unknown(service, link)
        assert service.snapshot().failure.state is S.UNKNOWN
        link.enter(pid, S.STOPPED)
        assert service.snapshot().failure is None

    def test_is_a_failure_when_it_would_have_failed(self, service, link):
        pid = self.unknown(service, link)
        link.enter(pid, S.FAILED, reason="it raised; process 4711 has gone")
        assert service.snapshot().failure.state is S.FAILED

    @pytest.mark.parametrize("end", [S.COMPLETE, S.READY, S.RUNNING, S.UNKNOWN])
    def test_becomes_nothing_but_stopped_or_failed(self, service, link, end):
        pid = self.unknown(service, link)
        link.enter(pid, end)
        assert state_of(service, pid) is S.UNKNOWN

    def test_is_not_forgotten_for_newer_ones(self, service, link):
        service.settings = dataclasses.replace(service.settings, history_length=1)
        pid = self.unknown(service, link)
        for _ in range(3):
            link.enter(prepared(service, link), S.STOPPED)
        assert [summary.state for summary in service.summarise()] == [S.UNKNOWN, S.STOPPED]
        assert service.summarise([pid])[0].os_pid == 4711
        assert pid in service.unfinished

    def test_of_an_earlier_main_has_failed(self, service, link, dashboard):
        pid = self.unknown(service, link)
        service.settle([pid], {})
        event = dashboard.changes[-1].event
        assert (event.process_uid, event.previous, event.state) == (pid, S.UNKNOWN, S.FAILED)
        reason = "server restarted while the procedure was UNKNOWN; nobody looks after its process any more"
        assert event.reason == reason


def test_what_is_prepared_while_leftovers_are_looked_for_lives_on(service, link, monkeypatch):
    left = prepared(service, link)

    def meanwhile(run_ids: dict[int, str]) -> dict[int, list[int]]:
        prepared(service, link)
        return {left: [4711]}

    monkeypatch.setattr(_service_keeper, "reap_escaped", meanwhile)
    run_id = service.unfinished[left]
    _service_keeper.ServiceKeeper(service, link)._settle({left: run_id})
    assert [state_of(service, pid) for pid in (left, left + 1)] == [S.FAILED, S.READY]


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
        assert sum(s.state.is_final for s in summaries) <= 4
        assert {uid for uid, known in state.items() if not known.is_final} <= {s.id for s in summaries}
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

    monkeypatch.setattr("ska_oet_device.procedure.application._script_finder.find_script", hanging)
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


class Hanging:
    """A file system that does not answer, in the place of looking for a script; none here hangs at will."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked, self.answers = 0, threading.Event()
        monkeypatch.setattr("ska_oet_device.procedure.application._script_finder.find_script", self._find)

    def _find(self, script, settings):
        self.asked += 1
        assert self.answers.wait(60)
        return "/a.py"


@pytest.fixture
def hanging(monkeypatch):
    monkeypatch.setattr(_finder, "_PATIENCE", 0.5)
    hanging = Hanging(monkeypatch)
    yield hanging
    hanging.answers.set()
    wait_until(lambda: not any(thread.name == "finder" for thread in threading.enumerate()), 20, "the search has ended")


def test_while_the_file_system_hangs_requests_are_refused_and_one_thread_waits_for_it(
    service, link, hanging, monkeypatch
):
    for _ in range(30):
        with pytest.raises(ScriptNotFoundError, match="the file system has not answered"):
            service.prepare(HELLO)
    wait_until(lambda: hanging.asked, 20, "the search has begun")
    assert hanging.asked == 1
    assert link.asked == []
    hanging.answers.set()
    wait_until(lambda: not any(thread.name == "finder" for thread in threading.enumerate()), 20, "it answers")
    monkeypatch.setattr(_finder, "_PATIENCE", 60.0)
    assert service.prepare(HELLO).id == 1


def test_a_process_that_was_held_up_itself_does_not_say_so_of_the_file_system():
    hold_up = ctypes.PyDLL(None).usleep  # with Python's lock, so that nobody looks for what is found

    def find():
        time.sleep(0.1)  # until it is waited for
        hold_up(2_000_000)
        return "/a.py"

    assert _finder.Finder(patience=1.5).find("a script", find) == "/a.py"


def test_a_stop_is_done_though_its_abort_script_cannot_be_looked_for(service, link, root, monkeypatch, request):
    service.abort_script = ABORT
    pid = running(service, link)
    hanging: Hanging = request.getfixturevalue("hanging")
    looks = threading.Event()
    stopped: list[Any] = []
    client = threading.Thread(target=lambda: stopped.append(service.stop(StopProcessCommand(pid))))
    client.start()
    wait_until(lambda: hanging.asked, 20, "the abort script is looked for")
    threading.Thread(target=lambda: (service.snapshot(), looks.set())).start()
    assert looks.wait(20), "nobody is kept from seeing how things stand"
    client.join(20)
    assert stopped == [[]]
    assert ("stop", pid) in [entry[:2] for entry in link.asked]
    assert any("the file system has not answered" in sentence for sentence in service.notices().sentences)


def test_a_history_that_answers_late_is_not_waited_for_by_each_request(root, monkeypatch):
    waits: list[float] = []

    class Late(MemoryHistory):
        """One that is always a moment behind: no database here is slow at will."""

        def wait(self, seconds: float) -> bool:
            waits.append(seconds)
            return False

    service = ScriptExecutionService(device=DEVICE, settings=Settings(script_roots=(str(root),)), history=Late())
    link = FakeLink(service)
    for _ in range(30):
        service.prepare(HELLO)
    assert [entry[0] for entry in link.asked] == ["create"] * 30
    assert 1 <= len(waits) < 30
    monkeypatch.setattr("ska_oet_device.procedure.application._making._IMPATIENCE", 0.0)
    service._maker._impatient_until = 0.0
    before = len(waits)
    service.prepare(HELLO)
    assert len(waits) == before + 1


def test_an_environment_is_removed_by_a_rename_and_its_files_later(tmp_path, monkeypatch):
    removed, may_remove = threading.Event(), threading.Event()

    def slow(folder):
        assert may_remove.wait(20)
        remove_tree(folder)
        removed.set()

    monkeypatch.setattr("ska_oet_device.procedure.application._environments.remove_tree", slow)
    folder = tmp_path / "environments" / "0123456789abcdef0123"
    (folder / "venv").mkdir(parents=True)
    service = ScriptExecutionService(device=DEVICE, settings=Settings(state_directory=str(tmp_path)))
    service.remove_environment(folder.name)
    assert service.environments() == []
    assert [path.name for path in folder.parent.iterdir() if not path.name.startswith(".")] == []
    may_remove.set()
    assert removed.wait(20)
    wait_until(lambda: list((folder.parent / ".trash").iterdir()) == [], 20, "the trash is empty")


def no_thread_starts(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


@pytest.fixture
def no_thread(monkeypatch):
    monkeypatch.setattr(threading.Thread, "start", no_thread_starts)


class TestWhereNoThreadCanBeHad:
    def test_a_stop_is_done_and_says_what_does_not_follow(self, service, link, request):
        service.abort_script = ABORT
        pid = running(service, link)
        request.getfixturevalue("no_thread")
        assert service.stop(StopProcessCommand(pid)) == []
        assert ("stop", pid) in link.asked
        assert "can't start new thread" in service.notices().abort_failed

    def test_the_abort_script_follows_that_was_found_before(self, service, link, root, request):
        service.set_abort_script(ABORT, str(root / "abort.py"))
        pid = running(service, link)
        request.getfixturevalue("no_thread")
        (abort,) = service.stop(StopProcessCommand(pid))
        assert link.asked[-3:] == [("stop", pid), ("create", abort.id), ("run", abort.id, "main", True, pid)]
        assert link.launches[abort.id].path == str(root / "abort.py")

    def test_a_request_says_so(self, service, link, request):
        request.getfixturevalue("no_thread")
        with Unchanged(service, link), pytest.raises(ScriptNotFoundError, match="can't start new thread"):
            service.prepare(HELLO)

    def test_an_environment_is_removed_all_the_same_and_its_files_when_they_are_collected(self, tmp_path, monkeypatch):
        folder = tmp_path / "environments" / "0123456789abcdef0123"
        (folder / "venv").mkdir(parents=True)
        service = ScriptExecutionService(device=DEVICE, settings=Settings(state_directory=str(tmp_path)))
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", no_thread_starts)
            service.remove_environment(folder.name)
        assert len(list((folder.parent / ".trash").iterdir())) == 1
        service.collect_environments(None)
        assert list((folder.parent / ".trash").iterdir()) == []


class HangingFolder:
    """A folder whose file system does not answer: no file system here hangs at will."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
        self.asked, self.answers = 0, threading.Event()
        real = os.path.realpath

        def realpath(path: str) -> str:
            if str(path).startswith(folder):
                self.asked += 1
                assert self.answers.wait(60)
            return real(path)

        monkeypatch.setattr("ska_oet_device.procedure.domain._locate.os.path.realpath", realpath)

    def refuses(self, service: ScriptExecutionService, command: PrepareProcessCommand) -> None:
        """Ask for a script that is in it; nobody is impatient with the others."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_finder, "_PATIENCE", 0.5)
            with pytest.raises(ScriptNotFoundError, match="has not answered"):
                service.prepare(command)


class TestAFileSystemThatHangs:
    @pytest.fixture
    def nfs(self, service, root, tmp_path_factory, monkeypatch):
        folder = str(tmp_path_factory.mktemp("nfs"))
        nfs = HangingFolder(monkeypatch, folder)
        service.settings = Settings(script_roots=(folder, str(root)))
        nfs.command = PrepareProcessCommand(FileSystemScript(f"file://{folder}/a.py"), NONE)
        nfs.local = PrepareProcessCommand(FileSystemScript(f"file://{root}/hello.py"), NONE)
        yield nfs
        nfs.answers.set()
        wait_until(lambda: not any(each.name == "finder" for each in threading.enumerate()), 20, "the search has ended")

    def test_leaves_the_scripts_of_others_alone(self, service, link, nfs):
        for _ in range(2):
            nfs.refuses(service, nfs.command)
        wait_until(lambda: nfs.asked, 20, "the search has begun")
        assert nfs.asked == 1
        assert service.prepare(nfs.local).id == 1

    def test_leaves_the_abort_script_alone(self, service, link, root, nfs):
        service.abort_script = FileSystemScript(f"file://{root}/abort.py")
        pid = service.run(nfs.local, "main", NONE).id
        link.enter(pid, *TO_READY)
        link.enter(pid, S.RUNNING, fn_name="main")
        nfs.refuses(service, nfs.command)
        (abort,) = service.stop(StopProcessCommand(pid))
        assert ("run", abort.id, "main", True, pid) in link.asked

    def test_leaves_an_abort_script_alone_that_was_found_before(self, service, link, root, monkeypatch):
        service.abort_script = ABORT
        service.look_for_abort_script()
        pid = running(service, link)
        nfs = HangingFolder(monkeypatch, str(root))
        (abort,) = service.stop(StopProcessCommand(pid))
        assert ("run", abort.id, "main", True, pid) in link.asked
        assert nfs.asked == 0

    def test_has_few_threads_wait_for_it(self, service, link, nfs):
        folder = nfs.command.script.script_uri.rpartition("/")[0]
        for number in range(10):
            nfs.refuses(service, PrepareProcessCommand(FileSystemScript(f"{folder}/{number}.py"), NONE))
        assert nfs.asked <= 4

    def test_with_the_abort_script_on_it_is_an_alarm_and_a_stop_that_is_done_first(
        self, service, link, nfs, monkeypatch
    ):
        service.abort_script = nfs.command.script
        pid = service.run(nfs.local, "main", NONE).id
        link.enter(pid, *TO_READY)
        link.enter(pid, S.RUNNING, fn_name="main")
        other = service.prepare(nfs.local).id
        link.enter(other, *TO_READY)
        monkeypatch.setattr(_finder, "_PATIENCE", 0.5)
        client = threading.Thread(target=service.stop, args=(StopProcessCommand(pid),))
        client.start()
        wait_until(lambda: nfs.asked, 20, "the abort script is looked for")
        assert ("stop", pid) in link.asked, "before anything is looked for"
        client.join(20)
        assert "has not answered" in service.notices().abort_failed

    def test_has_nobody_start_while_the_abort_script_is_looked_for(self, service, link, root, monkeypatch):
        service.abort_script = ABORT
        pid, other = running(service, link), prepared(service, link)

        def slow(script, settings):
            """In place of the file system: the stopped procedure ends, and another start is asked for."""
            link.enter(pid, S.STOPPED)
            with pytest.raises(BusyError, match=f"the abort script of procedure {pid} runs next"):
                service.start(StartProcessCommand(other, "main", NONE))
            return str(root / "abort.py")

        monkeypatch.setattr("ska_oet_device.procedure.application._script_finder.find_script", slow)
        (abort,) = service.stop(StopProcessCommand(pid))
        assert ("run", abort.id, "main", True, pid) in link.asked
        link.enter(abort.id, S.FAILED)
        service.start(StartProcessCommand(other, "main", NONE))


def test_an_abort_script_that_was_asked_for_and_is_not_prepared_is_an_alarm(service, link):
    pid = running(service, link)
    service.stop(StopProcessCommand(pid, True))
    link.enter(pid, S.STOPPED)
    assert "AbortScript is not set" in service.notices().abort_failed
    running(service, link)
    assert service.notices().abort_failed == ""


P1, P2, P3 = 1, 2, 3


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ([(P2, S.FAILED)], P2),
        ([(P1, S.UNKNOWN), (P2, S.FAILED), (P1, S.STOPPED)], P2),
        ([(P2, S.FAILED), (P1, S.UNKNOWN), (P1, S.STOPPED)], None),
        ([(P1, S.UNKNOWN), (P2, S.FAILED), (P1, S.FAILED)], P1),
        ([(P1, S.UNKNOWN), (P2, S.FAILED), (P3, S.RUNNING)], None),
        ([(P2, S.FAILED), (P3, S.RUNNING), (P3, S.STOPPED)], None),
    ],
)
def test_the_newest_failure_is_the_same_after_a_restart(service, link, changes, named):
    for _ in (P1, P2, P3):
        prepared(service, link)
    for pid, state in changes:
        link.enter(pid, state, reason="so it is")
    again = ScriptExecutionService(device=DEVICE, history=service.history)
    again.restore(())
    for failure in (service.snapshot().failure, again.snapshot().failure):
        assert (failure.process_uid if failure is not None else None) == named
