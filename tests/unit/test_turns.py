"""Whose turn it is: the rule alone, and in main, whose processes, clock and kernel are a model that does its worst.

The processes are a model because no real one can be had that is killed by nothing, on request, in every order.  With
real ones the same is tested in `integration/test_turns.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from support.modelled import NO_SUCH_PID, Clock, Kernel, Process

from ska_oet_device.mptools import ExitStatus
from ska_oet_device.procedure.messages import (
    Finished,
    LifecycleMessage,
    Load,
    RunFunction,
    StateEntered,
    StopProcess,
)
from ska_oet_device.procedure.state import ProcedureState as S
from ska_oet_device.procedure.state import may_follow
from ska_oet_device.procedure.supervision import ScriptSupervisor, _supervisor
from ska_oet_device.procedure.turns import Claim, Hold, in_the_way

EXAMPLES = int(os.environ.get("OET_HYPOTHESIS_EXAMPLES", "60"))
DEVICE = "mid-oet/subarray/01"
GRACE = 5.0

CLAIMS = st.lists(
    st.builds(Claim, st.integers(1, 6), st.sampled_from(list(Hold))), unique_by=lambda each: each.process_uid
)


class TestTheRule:
    @given(claims=CLAIMS, uid=st.integers(1, 8), is_abort=st.booleans(), goes_on=st.booleans())
    def test_nobody_is_called_while_another_one_drives(self, claims, uid, is_abort, goes_on):
        obstacle = in_the_way(uid, claims, is_abort=is_abort, goes_on=goes_on)
        own = next((claim.hold for claim in claims if claim.process_uid == uid), None)
        if obstacle is None and own in (None, Hold.RESERVED):
            drives = {Hold.RUNNING, Hold.STARTING, Hold.ENDING, Hold.UNKNOWN}
            assert not any(claim.hold in drives for claim in claims if claim.process_uid != uid)
        if obstacle is not None:
            assert obstacle in claims
            assert obstacle.process_uid != uid

    @given(claims=CLAIMS, uid=st.integers(1, 8))
    def test_who_drives_is_named_before_who_only_waits(self, claims, uid):
        obstacle = in_the_way(uid, claims)
        others = [claim.hold for claim in claims if claim.process_uid != uid]
        if obstacle is not None and obstacle.hold is Hold.RESERVED:
            assert set(others) == {Hold.RESERVED}

    def test_an_abort_script_passes_what_merely_leaves_and_other_abort_scripts(self):
        claims = [Claim(1, Hold.LEAVING), Claim(2, Hold.RESERVED), Claim(3, Hold.RESERVED)]
        assert in_the_way(3, claims, is_abort=True) is None
        for hold in (Hold.RUNNING, Hold.STARTING, Hold.ENDING, Hold.UNKNOWN):
            assert in_the_way(3, [Claim(1, hold)], is_abort=True).process_uid == 1

    @pytest.mark.parametrize(
        ("hold", "says"),
        [
            (Hold.RUNNING, "procedure 3 is RUNNING"),
            (Hold.STARTING, "procedure 3 is being started"),
            (Hold.ENDING, "procedure 3 is still ending (its process has not gone yet)"),
            (
                Hold.UNKNOWN,
                "procedure 3 is UNKNOWN: process 4711 is alive, and this server cannot kill it; its owner or root must",
            ),
            (Hold.LEAVING, "procedure 3 is still ending (its process has not gone yet)"),
            (Hold.RESERVED, "procedure 3 is an abort script and runs next"),
        ],
    )
    def test_a_refusal_says_what_is_so(self, hold, says):
        refusal = in_the_way(4, [Claim(3, hold, (4711,))]).refusal("procedure 4")
        assert refusal == f"{says}; procedure 4 cannot be started before it ends"

    @pytest.mark.parametrize("is_ending", [False, True])
    @pytest.mark.parametrize("is_starting", [False, True])
    @pytest.mark.parametrize("drives", [False, True])
    def test_whoever_drives_holds_the_turn_to_the_end(self, drives, is_starting, is_ending):
        hold = Hold.of(drives=drives, is_starting=is_starting, is_called=drives, is_ending=is_ending, is_reserved=False)
        assert (hold is not None) == (drives or is_starting)


@dataclass
class Burial:
    pid: int
    run_id: str
    done: Callable[[list[int], list[int]], None]
    on_gone: Callable[[list[int]], None]
    has_survivors: bool = False


class Undertaker:
    """What a script has left behind is gone, or dies when the test lets it."""

    waiting: ClassVar[list[Burial]] = []

    def __init__(self, loop: object, children: object) -> None:
        self.waiting.clear()

    def bury(self, *burial: Any) -> None:
        self.waiting.append(Burial(*burial))


class Histories(RuleBasedStateMachine):
    """Any history of Run, Start, force_start, Stop, time, and ends of every kind; of one device."""

    def __init__(self) -> None:
        super().__init__()
        self.clock, self.kernel = Clock(), Kernel()
        self.told: list[LifecycleMessage] = []
        pool = SimpleNamespace(take=self.kernel.take, note_activity=lambda: None)
        announcer = SimpleNamespace(
            tell=lambda message: None, announce=self.told.append, pubsub=lambda frame, **_: True
        )
        self.supervisor = ScriptSupervisor(self.clock, self.kernel, pool, announcer)
        self.count = 0

    def pick(self, number: int, *, which: Callable[[Process], bool] = lambda process: True) -> Process | None:
        found = [process for process in self.kernel.processes.values() if not process.ended and which(process)]
        return found[number % len(found)] if found else None

    def end(self, process: Process, status: ExitStatus) -> None:
        self.kernel.end(process, status)
        process.is_buried = all(burial.pid != process.pid for burial in Undertaker.waiting)

    def calls(self, ask: Callable[[], None]) -> None:
        """Do something, and look who is called by that: nobody else drives, or tidies up after it has driven."""
        before = {pid: len(process.told) for pid, process in self.kernel.processes.items()}
        ask()
        called = [process for pid, process in self.kernel.processes.items() if len(process.told) > before.get(pid, 0)]
        assert len(called) <= 1
        for process in called:
            others = [other for other in self.kernel.processes.values() if other is not process]
            assert not [other.pid for other in others if other.drives]

    @rule(
        grace=st.sampled_from([0.0, GRACE]),
        run_timeout=st.sampled_from([0.0, 3.0]),
        is_loaded=st.booleans(),
        run=st.booleans(),
    )
    @precondition(lambda self: self.count < 12)
    def prepare(self, grace, run_timeout, is_loaded, run):
        self.count += 1
        limits = {"RunTimeout": run_timeout, "LoadTimeout": 60.0}
        load = Load(self.count, "", {}, "", [], {}, {}, limits, grace, device=DEVICE)
        self.supervisor.create(load)
        if is_loaded:
            self.load(-1)
        if run:
            self.run_it(self.count, "main")
            self.begin(0)

    @rule(uid=st.integers(1, 12), fn=st.sampled_from(["main", "step"]), after=st.none() | st.integers(1, 12))
    def run_it(self, uid, fn, after=None):
        self.calls(lambda: self.supervisor.run(RunFunction(DEVICE, uid, fn, {}, True, after)))

    @rule(uid=st.integers(1, 12))
    def stop(self, uid):
        self.calls(lambda: self.supervisor.stop(StopProcess(DEVICE, uid)))

    @rule(number=st.integers(0, 12))
    def load(self, number):
        if process := self.pick(number, which=lambda process: not process.is_loaded):
            process.is_loaded = True
            states = (S.IDLE, S.LOADING, S.IDLE, S.READY)
            self.calls(lambda: process.say(*(StateEntered(int(state), self.clock.now) for state in states)))

    @rule(number=st.integers(0, 12))
    def begin(self, number):
        if process := self.pick(number, which=lambda process: bool(process.told) and not process.function):
            process.function = process.told[0].fn_name
            process.say(StateEntered(int(S.RUNNING), self.clock.now, process.function))

    @rule(number=st.integers(0, 12), outcome=st.sampled_from(["return", "raise", "terminated"]))
    def finish_function(self, number, outcome):
        process = self.pick(number, which=lambda process: bool(process.function) and not process.has_finished)
        if process is None:
            return
        if outcome != "return":
            process.has_finished = True
            self.calls(lambda: process.say(Finished("failed" if outcome == "raise" else outcome, 0.0, "so it was")))
        elif process.function == "main":
            process.has_finished = True
            ends = StateEntered(int(S.READY), self.clock.now), Finished("completed", 0.0, "completed")
            self.calls(lambda: process.say(*ends))
        else:
            process.told.pop(0)
            process.function = ""
            self.calls(lambda: process.say(StateEntered(int(S.READY), self.clock.now)))

    @rule(number=st.integers(0, 12), obeys=st.sampled_from([{15, 9}, {9}, set()]))
    def become_deaf(self, number, obeys):
        if process := self.pick(number):
            process.obeys = obeys

    @rule(number=st.integers(0, 12))
    def end_as_it_should(self, number):
        """Exit functions and threads are over, or a signal has been obeyed."""
        process = self.pick(number, which=lambda each: each.has_finished or each.pid in self.kernel.ill)
        if process is not None:
            status = ExitStatus(None, 9) if process.pid in self.kernel.ill else ExitStatus(0, None)
            self.calls(lambda: self.end(process, status))

    @rule(number=st.integers(0, 12), code=st.sampled_from([0, 1]))
    def die(self, number, code):
        """It is killed from outside, or by sys.exit in a place where that ends it."""
        if process := self.pick(number):
            self.calls(lambda: self.end(process, ExitStatus(code, None)))

    @rule(number=st.integers(0, 12), survives=st.sampled_from([False, False, True]))
    def bury(self, number, survives):
        if Undertaker.waiting:
            burial = Undertaker.waiting[number % len(Undertaker.waiting)]
            if survives and not burial.has_survivors:
                burial.has_survivors = True
                self.calls(lambda: burial.done([NO_SUCH_PID - 1], [NO_SUCH_PID - 1]))
                return
            Undertaker.waiting.remove(burial)
            self.kernel.processes[burial.pid].is_buried = True
            self.calls(lambda: burial.on_gone([]) if burial.has_survivors else burial.done([], []))

    @rule(seconds=st.sampled_from([0.1, 1.0, 3.0, 20.0]))
    def wait(self, seconds):
        self.calls(lambda: self.clock.move(seconds))

    @invariant()
    def no_two_drive(self):
        assert sum(process.drives for process in self.kernel.processes.values()) <= 1

    def teardown(self):
        """Whatever can be killed is, and whoever remains has told its end, once."""
        for uid in range(1, self.count + 1):
            self.supervisor.stop(StopProcess(DEVICE, uid))
        for process in [each for each in self.kernel.processes.values() if not each.ended]:
            self.end(process, ExitStatus(None, 9))
        while Undertaker.waiting:
            self.bury(0, survives=False)
        ends = [change.msg_src for change in self.told if change.new_state.is_final]
        assert sorted(ends) == list(range(1, self.count + 1))
        assert self.supervisor.living == []

    @invariant()
    def what_is_told_keeps_to_the_table(self):
        states: dict[int, S] = {}
        for change in self.told:
            assert may_follow(states.get(change.msg_src, S.CREATING), change.new_state)
            states[change.msg_src] = change.new_state


def test_in_no_history_do_two_processes_drive_at_once(monkeypatch):
    monkeypatch.setattr(_supervisor, "Undertaker", Undertaker)
    limits = settings(
        max_examples=EXAMPLES, stateful_step_count=60, suppress_health_check=list(HealthCheck), deadline=None
    )
    run_state_machine_as_test(Histories, settings=limits)


class TestWhatIsLeft:
    """Of one procedure that drives; another one is READY, and is to be started meanwhile."""

    @pytest.fixture
    def main(self, monkeypatch):
        monkeypatch.setattr(_supervisor, "Undertaker", Undertaker)
        made = Histories()
        made.prepare(grace=GRACE, run_timeout=0.0, is_loaded=True, run=True)
        made.prepare(grace=GRACE, run_timeout=0.0, is_loaded=True, run=False)
        return made

    def told(self, main: Histories, uid: int) -> list[tuple[str, list[int]]]:
        """The ends of a procedure that are announced, with what survives."""
        changes = [change for change in main.told if change.msg_src == uid and change.new_state.is_terminal]
        return [(change.new_state.name, change.exit["survivors"]) for change in changes]

    def test_is_named_anew_when_the_process_that_hung_has_gone_and_leaves_something_behind(self, main):
        hung = next(iter(main.kernel.processes.values()))
        hung.obeys = set()
        main.stop(1)
        main.clock.move(20)
        assert self.told(main, 1) == [("UNKNOWN", [hung.pid])]
        main.end(hung, ExitStatus(None, 9))
        main.bury(0, survives=True)
        survivor = NO_SUCH_PID - 1
        assert self.told(main, 1)[1:] == [("UNKNOWN", [survivor])]
        main.run_it(2, "main")
        assert f"process {survivor} is alive" in main.told[-1].reason
        main.bury(0, survives=False)
        assert self.told(main, 1)[2:] == [("STOPPED", [])]

    @pytest.mark.parametrize("survives", [False, True])
    def test_of_one_that_fails_for_faults_of_ours_keeps_the_turn_and_is_told_once(self, main, survives):
        driving, waiting = main.kernel.processes.values()
        script = main.supervisor._scripts[DEVICE, 1]
        script._let_go("so it was")
        assert self.told(main, 1) == [("FAILED", [])]
        assert [item["process_uid"] for item in main.supervisor.living] == [2]
        main.run_it(2, "main")
        main.run_it(2, "main", after=1)  # as an abort script does
        assert waiting.told == []
        assert main.told[-1].reason.startswith("the start of main was dropped, since procedure 1 was still ending")
        main.end(driving, ExitStatus(None, 9))
        assert waiting.told == []
        if survives:
            main.bury(0, survives=True)
            assert waiting.told == []
        main.bury(0, survives=False)
        assert [run.fn_name for run in waiting.told] == ["main"]
        assert self.told(main, 1) == [("FAILED", [])]
