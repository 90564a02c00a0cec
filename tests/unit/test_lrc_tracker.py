"""What the changes of procedures mean for long running commands, and how they are made again from what is kept."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ska_oet_device.procedure.application import (
    MOST_FINISHED,
    ArgCapture,
    CommandUpdate,
    LongRunningCommand,
    LongRunningCommands,
    ProcedureHistory,
    ProcedureSummary,
    RequestRecord,
    ResultCode,
    TaskStatus,
)
from ska_oet_device.procedure.application._lrc_past import take_up_earlier
from ska_oet_device.procedure.application._lrc_tracker import CommandTracker, Started
from ska_oet_device.procedure.domain import FileSystemScript, ProcedureInput, ProcedureState
from ska_oet_device.procedure.ui._last_words import LastWords

S = ProcedureState
TO_READY = (S.CREATING, S.IDLE, S.LOADING, S.IDLE, S.READY)
TO_RUNNING = (*TO_READY, S.RUNNING)


class Device:
    """A tracker, and procedures that go through states one second apart."""

    def __init__(self) -> None:
        self.tracker = CommandTracker()
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.updates: list[CommandUpdate] = []
        self._states: dict[int, S] = {}
        self._time = 1000.0

    def begin(self, name: str, pid: int, fn: str = "main") -> str:
        self._time += 1
        uid = ""
        if name != "Start":
            update = self.tracker.begin(name, pid, self._time)
            self.updates.append(update)
            uid = update.uid
        if name != "PrepareScript":
            self.tracker.note_start(pid, Started(fn, uid), 0)
        return uid

    def go(self, pid: int, *states: S, reason: str | None = None) -> None:
        for state in states:
            self._time += 1
            updates = self.tracker.changed(pid, self._states.get(pid), state, self._time, reason)
            self._states[pid] = state
            self.updates += updates
            self.told += [(update.uid, update.data) for update in updates]

    def status(self, uid: str) -> str:
        return self.tracker.status_of(uid).name


@pytest.fixture
def device() -> Device:
    return Device()


def test_of_a_run_each_status_is_told_once_and_the_result_with_the_last(device):
    uid = device.begin("RunScript", 1)
    device.go(1, *TO_RUNNING, S.READY, S.COMPLETE)
    assert device.told == [(uid, {"status": 2}), (uid, {"status": 5, "result": [0, "Command Completed"]})]


def test_main_that_has_returned_is_not_the_end_before_its_process_has_ended(device):
    uid = device.begin("RunScript", 1)
    device.go(1, *TO_RUNNING, S.READY)
    assert device.status(uid) == "IN_PROGRESS"
    device.go(1, S.FAILED, reason="an exit function raised")
    assert device.told[-1] == (uid, {"status": 7, "result": [3, "an exit function raised"]})


@pytest.mark.parametrize(
    ("end", "status", "code"),
    [(S.STOPPED, "ABORTED", 7), (S.FAILED, "FAILED", 3), (S.UNKNOWN, "FAILED", 3)],
    ids=["STOPPED", "FAILED", "UNKNOWN"],
)
@pytest.mark.parametrize("before", [TO_READY[:2], TO_READY, TO_RUNNING], ids=["IDLE", "READY", "RUNNING"])
def test_every_end_is_told_whenever_it_comes(device, end, status, code, before):
    uid = device.begin("RunScript", 1)
    device.go(1, *before)
    device.go(1, end, reason="why")
    assert device.status(uid) == status
    assert device.told[-1][1]["result"] == [code, "why"]


def test_what_follows_the_last_status_changes_nothing(device):
    uid = device.begin("RunScript", 1)
    device.go(1, *TO_RUNNING, S.UNKNOWN, reason="it cannot be killed")
    count = len(device.told)
    device.go(1, S.STOPPED)
    assert (device.status(uid), len(device.told)) == ("FAILED", count)


def test_functions_are_told_apart_in_the_order_in_which_they_were_asked_for(device):
    prepare = device.begin("PrepareScript", 1)
    first = device.begin("StartScript", 1, "one")
    device.begin("Start", 1, "two")
    third = device.begin("StartScript", 1, "three")
    device.go(1, *TO_READY)
    assert [device.status(uid) for uid in (prepare, first, third)] == ["COMPLETED", "QUEUED", "QUEUED"]
    device.go(1, S.RUNNING, S.READY, S.RUNNING)
    assert [device.status(uid) for uid in (first, third)] == ["COMPLETED", "QUEUED"]
    device.go(1, S.READY, S.RUNNING)
    assert device.status(third) == "IN_PROGRESS"
    device.go(1, S.STOPPED)
    assert device.status(third) == "ABORTED"


def test_a_start_behind_others_that_were_there_before_waits_for_its_own_turn(device):
    device.go(1, *TO_READY)
    uid = device.tracker.begin("StartScript", 1, 5.0).uid
    device.tracker.note_start(1, Started("mine", uid), 2)
    device.go(1, S.RUNNING, S.READY, S.RUNNING, S.READY)
    assert device.status(uid) == "QUEUED"
    device.go(1, S.RUNNING)
    assert device.status(uid) == "IN_PROGRESS"


def test_a_start_that_is_dropped_is_rejected_and_the_next_one_is_not(device):
    dropped = device.begin("RunScript", 1)
    device.go(1, *TO_READY)
    device.go(1, S.READY, reason="the start of main was dropped, since procedure 2 was RUNNING")
    text = "OET_Busy: the start of main was dropped, since procedure 2 was RUNNING; procedure 1 stays READY"
    assert device.told[-1][1]["result"][1] == text
    started = device.begin("StartScript", 1)
    device.go(1, S.RUNNING, S.READY, S.COMPLETE)
    assert [device.status(uid) for uid in (dropped, started)] == ["REJECTED", "COMPLETED"]


def test_nothing_is_told_of_a_procedure_that_nobody_asks_for_in_this_way(device):
    device.begin("Start", 1)
    device.go(1, *TO_RUNNING, S.READY, S.COMPLETE)
    device.tracker.progressed(1, 50.0)
    assert device.told == []
    assert device.tracker.commands == LongRunningCommands()


def test_a_reason_is_cut_and_of_many_the_newest_are_kept(device):
    for pid in range(1, MOST_FINISHED + 6):
        device.begin("RunScript", pid)
        device.go(pid, S.CREATING, S.FAILED, reason="x" * 1000)
    finished = device.tracker.commands.finished
    assert len(finished) == len(device.tracker.commands.recent) == MOST_FINISHED
    assert finished[-1].process_uid == MOST_FINISHED + 5
    assert len(finished[-1].result[1]) == 300


def test_in_whatever_order_updates_come_each_end_is_shown_alone_and_not_before_it_is_told():
    """What comes with a change of a procedure waits for the history; what is accepted meanwhile is told before it."""
    tracker = CommandTracker()
    shown = tracker.commands

    def begin(pid: int) -> CommandUpdate:
        update = tracker.begin("PrepareScript", pid, float(pid))
        tracker.changed(pid, None, S.CREATING, float(pid), None)
        return update

    accepted = [begin(pid) for pid in (1, 2)]
    waiting = [
        update
        for pid, state in ((1, S.IDLE), (1, S.FAILED), (2, S.FAILED))
        for update in tracker.changed(pid, S.CREATING, state, 10.0 + pid, "it is broken")
    ]
    accepted.append(begin(3))
    told = []
    for update in (*accepted, *waiting):
        shown = shown.after(update, 1.0)
        told.append((len(shown.queue), len(shown.executing), [each.process_uid for each in shown.finished]))
    assert told == [(1, 0, []), (2, 0, []), (3, 0, []), (2, 1, []), (2, 0, [1]), (1, 0, [1, 2])]
    assert (shown.unfinished, shown.finished) == (tracker.commands.unfinished, tracker.commands.finished)
    assert [each.process_uid for _, each in shown.recent] == [1, 2]


def test_an_abort_finishes_when_the_last_of_what_it_waits_for_has_ended(device):
    for pid in (1, 2):
        device.begin("RunScript", pid)
        device.go(pid, *TO_READY)
    uid, told = device.tracker.begin_abort(9.0)
    assert [update.data for update in told] == [{"status": 2}]
    for pid in (1, 2):
        device.tracker.wait_for(uid, pid)
    device.go(1, S.STOPPED)
    assert device.tracker.close_abort(uid, 10.0) == []
    device.go(2, S.STOPPED)
    assert device.status(uid) == "COMPLETED"
    assert device.tracker.abort_under_way is None


def summary(pid: int, states: list[tuple[S, float]], requests: dict[float, str], calls: dict[float, str], **more: Any):
    return ProcedureSummary(
        pid,
        FileSystemScript("file:///a.py"),
        tuple(ArgCapture(fn, ProcedureInput(), time) for time, fn in {0.5: "init", **calls}.items()),
        ProcedureHistory(tuple(states), **more),
        states[-1][0],
        run_id="run",
        requested_by=tuple(RequestRecord(command, "client", None, time) for time, command in requests.items()),
    )


def timed(*states: S, first: float = 1.0) -> list[tuple[S, float]]:
    return [(state, first + at) for at, state in enumerate(states)]


def test_behind_a_restart_each_is_as_it_was_with_the_same_uid():
    tracker = CommandTracker()
    run = summary(
        1,
        timed(*TO_RUNNING, S.READY, S.COMPLETE),
        {1.0: "RunScript"},
        {1.0: "main"},
        exit={"reason": "completed"},
    )
    stopped = summary(
        2, timed(*TO_RUNNING, S.STOPPED), {1.0: "RunScript"}, {1.0: "main"}, exit={"reason": "stopped on request"}
    )
    living = summary(
        3,
        timed(*TO_READY, S.RUNNING),
        {1.0: "PrepareScript", 2.5: "StartScript", 2.75: "StartScript"},
        {2.5: "one", 2.75: "two"},
    )
    take_up_earlier(tracker, [run, stopped, living])
    names = {uid: tracker.status_of(uid).name for uid in ("1.0_1_RunScript", "1.0_2_RunScript", "1.0_3_PrepareScript")}
    assert list(names.values()) == ["COMPLETED", "ABORTED", "COMPLETED"]
    assert [each.uid for each in tracker.commands.executing] == ["2.5_3_StartScript"]
    assert [each.uid for each in tracker.commands.queue] == ["2.75_3_StartScript"]
    assert tracker.commands.recent == ()
    ends = [each.finished for each in tracker.commands.finished]
    assert ends == sorted(ends)
    told = tracker.changed(3, S.RUNNING, S.READY, 20.0, None)
    assert [(update.uid, update.data["status"]) for update in told] == [("2.5_3_StartScript", 5)]


def test_behind_a_restart_those_that_have_finished_last_are_known_in_whatever_order_they_are_found():
    tracker = CommandTracker()
    ended = [
        summary(pid, timed(*TO_RUNNING, S.COMPLETE, first=float(pid)), {float(pid): "RunScript"}, {float(pid): "main"})
        for pid in range(MOST_FINISHED + 5, 0, -1)
    ]
    stopped = summary(
        200, timed(*TO_RUNNING, S.STOPPED, first=200.0), {200.0: "RunScript", 205.0: "Abort"}, {200.0: "main"}
    )
    take_up_earlier(tracker, [*ended, stopped])
    finished = [each.process_uid for each in tracker.commands.finished]
    assert finished[-3:] == [MOST_FINISHED + 5, 200, 0]
    assert finished[0] == MOST_FINISHED + 5 - (MOST_FINISHED - 3)
    assert tracker.commands.recent == ()


def test_a_plain_start_that_waits_behind_a_restart_keeps_its_place():
    tracker = CommandTracker()
    take_up_earlier(tracker, [summary(1, timed(*TO_READY[:4]), {1.0: "Prepare", 2.0: "Start"}, {2.0: "first"})])
    uid = tracker.begin("StartScript", 1, 9.0).uid
    tracker.note_start(1, Started("second", uid), 0)
    assert tracker.changed(1, S.READY, S.RUNNING, 10.0, None) == ()
    assert tracker.status_of(uid) is TaskStatus.QUEUED


@pytest.mark.parametrize("first", ["RunScript", "Run", "RunSelected"])
def test_a_run_of_which_the_server_died_before_it_had_kept_the_call_is_told_apart_and_ends(first):
    tracker = CommandTracker()
    gone = summary(1, [(S.CREATING, 1.0), (S.FAILED, 3.0)], {1.0: first}, {}, exit={"reason": "server restarted"})
    ended = summary(2, timed(*TO_RUNNING, S.READY, S.COMPLETE), {1.0: first}, {})
    living = summary(3, timed(*TO_READY), {1.0: first, 6.5: "StartScript"}, {6.5: "main"})
    take_up_earlier(tracker, [gone, ended, living])
    assert tracker.status_of("6.5_3_StartScript").name == "QUEUED"
    tracker.changed(3, S.READY, S.RUNNING, 8.0, None)  # what was asked for first
    assert tracker.status_of("6.5_3_StartScript").name == "QUEUED"
    tracker.changed(3, S.RUNNING, S.STOPPED, 9.0, "stopped on request")
    assert tracker.commands.unfinished == ()
    if first == "RunScript":
        told = [tracker.status_of(f"1.0_{pid}_RunScript").name for pid in (1, 2, 3)]
        assert told == ["FAILED", "COMPLETED", "ABORTED"]


@pytest.mark.parametrize("first", ["PrepareScript", "RunScript"])
@pytest.mark.parametrize("end", [S.COMPLETE, S.STOPPED, None], ids=["complete", "stopped", "alive"])
@pytest.mark.parametrize("many", [2000, 2001])
def test_what_came_first_of_a_procedure_that_was_called_very_often_has_finished_long_ago(first, end, many):
    changes = [(S.RUNNING if number % 2 else S.READY, 10.0 + number) for number in range(many)][-999:]
    calls = {time - 0.5: "step" for state, time in changes if state is S.RUNNING}
    requests = {1.0: first, **dict.fromkeys(calls, "StartScript")}
    tracker = CommandTracker()
    states = [(S.CREATING, 1.0), *changes, *([(end, 3000.0)] if end else [])]
    take_up_earlier(tracker, [summary(1, states, requests, calls)])
    assert tracker.status_of(f"1.0_1_{first}") is TaskStatus.NOT_FOUND
    is_under_way = end is None and changes[-1][0] is S.RUNNING
    under_way = [f"{changes[-1][1] - 0.5}_1_StartScript"] if is_under_way else []
    assert [each.uid for each in tracker.commands.unfinished] == under_way


def test_an_abort_is_put_together_again_from_all_that_it_has_stopped():
    tracker = CommandTracker()
    stopped = summary(1, timed(*TO_RUNNING, S.STOPPED), {1.0: "Run", 6.5: "Abort"}, {1.0: "main"}, exit={"reason": "x"})
    script = summary(2, timed(*TO_RUNNING, first=7.0), {6.5: "Abort"}, {7.0: "main"})
    take_up_earlier(tracker, [stopped, script])
    assert tracker.status_of("6.5_0_Abort") is TaskStatus.IN_PROGRESS
    (update,) = tracker.changed(2, S.RUNNING, S.FAILED, 30.0, "no subarray was given")
    assert update.data["result"] == [3, "the abort script, procedure 2, is FAILED: no subarray was given"]


def test_the_end_of_a_command_is_told_again_a_second_and_five_later_and_behind_a_restart_for_longer():
    now = 100.0
    words = LastWords(lambda: now)
    assert words.seconds_until_due() is None
    words.note(("uid", "{}"))
    times = []
    while (seconds := words.seconds_until_due()) is not None:
        now += seconds
        times.append(now)
        assert words.due() == [("uid", "{}")]
    assert times == [101.0, 105.0, 112.0, 125.0, 140.0, 160.0]
    words.note(("other", "{}"))
    assert words.seconds_until_due() == 1.0
    now += 60
    assert words.due() == [("other", "{}")] * 2
    assert words.seconds_until_due() is None


def test_what_ended_just_before_the_start_is_told_and_what_ended_long_ago_is_not(monkeypatch):
    monkeypatch.setattr("ska_oet_device.procedure.ui._last_words.clock.time", lambda: 1000.0)
    now = 0.0
    words = LastWords(lambda: now)
    result = (ResultCode.OK, "Command Completed")
    old, new = (
        LongRunningCommand("RunScript", pid, 1.0, TaskStatus.COMPLETED, 2.0, end, None, result)
        for pid, end in ((1, 900.0), (2, 999.0))
    )
    words.repeat_earlier([old, new])
    now = 60.0
    assert [uid for uid, _ in words.due()] == [new.uid] * 5


@given(
    first=st.sampled_from(["Prepare", "PrepareScript", "Run", "RunScript"]),
    steps=st.lists(st.sampled_from(["Start", "StartScript", "StartScript other", "next", "drop", "stop"]), max_size=30),
)
def test_whatever_a_procedure_has_been_through_is_seen_alike_live_and_behind_a_restart(first, steps):
    """The device server may be killed at any moment: what is put together again is what was known."""
    tracker, time = CommandTracker(), 1.0
    states: list[tuple[S, float]] = []
    requests, calls, dropped, waiting = {time: first}, {}, [], []

    def enter(state: S, reason: str | None = None) -> None:
        tracker.changed(1, states[-1][0] if states else None, state, time, reason)
        states.append((state, time))

    def ask(command: str, fn: str) -> None:
        uid = tracker.begin(command, 1, time).uid if "Script" in command and command != "PrepareScript" else ""
        if "Prepare" not in command:
            tracker.note_start(1, Started(fn, uid), len(waiting))
            calls[time] = fn
            waiting.append(fn)
        requests[time] = command

    if first == "PrepareScript":
        tracker.begin(first, 1, time)
    ask(first, "main")
    enter(S.CREATING)
    coming, running = [S.IDLE, S.LOADING, S.IDLE, S.READY], ""
    for step in steps:
        time += 1
        is_over = states[-1][0].is_terminal or running == "main over"
        if step.startswith("Start") and not is_over:
            ask(step.split()[0], "other" if "other" in step else "main")
        elif step == "stop" and not states[-1][0].is_terminal:
            enter(S.STOPPED, "stopped on request")
        elif step == "drop" and states[-1][0] is S.READY and waiting and not is_over:
            dropped.append((time, "the start was dropped"))
            waiting.pop(0)
            enter(S.READY, "the start was dropped")
        elif step == "next" and coming and not states[-1][0].is_terminal:
            enter(coming.pop(0))
        elif step == "next" and running == "main over" and not states[-1][0].is_terminal:
            enter(S.COMPLETE, "completed")
        elif step == "next" and states[-1][0] is S.READY and waiting:
            running = waiting.pop(0)
            enter(S.RUNNING)
        elif step == "next" and states[-1][0] is S.RUNNING:
            running = "main over" if running == "main" else ""
            enter(S.READY)
    reason = {S.STOPPED: "stopped on request", S.COMPLETE: "completed"}.get(states[-1][0])
    exit_ = {"reason": reason} if reason else None
    again = CommandTracker()
    take_up_earlier(again, [summary(1, states, requests, calls, exit=exit_, dropped_starts=tuple(dropped))])

    def seen(commands: LongRunningCommands) -> list[Any]:
        finished = [(each.uid, each.status, each.started, each.finished, each.result) for each in commands.finished]
        return [*sorted(finished, key=str), *((each.uid, each.status, each.started) for each in commands.unfinished)]

    assert seen(again.commands) == seen(tracker.commands)


def test_what_is_taken_up_late_leaves_this_servers_own_commands_as_they_are_and_as_they_are_shown(device):
    """A history may come when commands are under way: of these a client has still to be told."""
    run, stopped = device.begin("RunScript", 7), device.begin("RunScript", 8)
    shown = LongRunningCommands()
    device.go(7, *TO_RUNNING)
    device.tracker.progressed(7, 12.0)
    abort, news = device.tracker.begin_abort(50.0)
    device.updates += news
    device.tracker.wait_for(abort, 8)
    device.tracker.close_abort(abort, 50.0)
    own = [
        summary(7, timed(*TO_RUNNING), {1001.0: "RunScript"}, {1001.0: "main"}),
        summary(8, [(S.CREATING, 1002.0)], {1002.0: "RunScript", 50.0: "Abort"}, {}),
    ]
    ended = summary(1, timed(*TO_RUNNING, S.READY, S.COMPLETE), {1.0: "RunScript"}, {1.0: "main"})
    living = summary(2, timed(*TO_READY), {1.0: "PrepareScript", 8.0: "StartScript"}, {8.0: "main"})
    earlier = {"1.0_1_RunScript", "1.0_2_PrepareScript", "8.0_2_StartScript"}
    before = device.tracker.commands
    take_up_earlier(device.tracker, [ended, living, *own])
    now = device.tracker.commands
    assert {each.uid for each in now.taken_up} == earlier
    assert {each.uid: each for each in before.unfinished} == {
        each.uid: each for each in now.unfinished if each.uid in (run, stopped, abort)
    }
    assert device.tracker.abort_under_way is not None
    shown = shown.with_taken_up(now.taken_up)
    assert {each.uid for each in (*shown.unfinished, *shown.finished)} == earlier
    for update in device.updates:
        shown = shown.after(update, 1.0)
    assert [each.status for each in shown.unfinished if each.uid == run] == [TaskStatus.IN_PROGRESS]
    shown, found = shown.with_progress(7, 12)
    assert found == run
    assert {each.uid for each in shown.unfinished} == {each.uid for each in now.unfinished}
