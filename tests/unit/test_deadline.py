"""The deadlines of the phases of a procedure, by a clock that the test moves."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from support.modelled import Clock, IdleUndertaker, Kernel, Process

from ska_oet_device.mptools import ExitStatus
from ska_oet_device.procedure.messages import Finished, LifecycleMessage, Load, RunFunction, StateEntered, StopProcess
from ska_oet_device.procedure.state import ProcedureState as S
from ska_oet_device.procedure.supervision import ScriptSupervisor, _supervisor
from ska_oet_device.procedure.supervision._deadline import START_PATIENCE

DEVICE = "mid-oet/subarray/01"
LIMITS = {"LoadTimeout": 20.0, "InitTimeout": 30.0, "EnvironmentTimeout": 40.0, "RunTimeout": 50.0}
PASSED = {
    S.CREATING: [],
    S.IDLE: [S.IDLE],
    S.PREP_ENV: [S.IDLE, S.PREP_ENV],
    S.LOADING: [S.IDLE, S.LOADING],
    S.INITIALISING: [S.IDLE, S.LOADING, S.IDLE, S.INITIALISING],
    S.READY: [S.IDLE, S.LOADING, S.IDLE, S.READY],
}


@pytest.fixture(autouse=True)
def undertaker(monkeypatch):
    monkeypatch.setattr(_supervisor, "Undertaker", IdleUndertaker)


class Main:
    """Main's supervisor with one procedure, whose process only does what it is told here."""

    def __init__(self, **limits: float) -> None:
        self.clock, self.kernel = Clock(), Kernel()
        self.told: list[LifecycleMessage] = []
        pool = SimpleNamespace(take=self.kernel.take, note_activity=lambda: None, problems=())
        announcer = SimpleNamespace(tell=lambda message: None, announce=self.told.append, pubsub=lambda frame: True)
        self.supervisor = ScriptSupervisor(self.clock, self.kernel, pool, announcer)
        self.supervisor.create(Load(1, "", {}, "", [], {}, {}, limits, 5.0, device=DEVICE))

    @property
    def process(self) -> Process:
        (process,) = self.kernel.processes.values()
        return process

    def enter(self, *states: S, fn_name: str = "") -> None:
        self.process.say(*(StateEntered(int(state), self.clock.now, fn_name) for state in states))

    def call(self, fn_name: str = "main") -> None:
        self.supervisor.run(RunFunction(DEVICE, 1, fn_name, {}, False, None))

    def end(self, status: ExitStatus) -> str:
        """Have the process end; returns the reason of the procedure's end."""
        self.kernel.end(self.process, status)
        return f"{self.told[-1].new_state.name}: {self.told[-1].reason}"

    @property
    def was_signalled(self) -> bool:
        return bool(self.kernel.ill)


KILLED = ExitStatus(None, 9)


@pytest.mark.parametrize(
    ("state", "limit"),
    [
        (S.CREATING, "LoadTimeout"),
        (S.IDLE, "LoadTimeout"),
        (S.PREP_ENV, "EnvironmentTimeout"),
        (S.LOADING, "LoadTimeout"),
        (S.INITIALISING, "InitTimeout"),
    ],
)
def test_no_step_to_ready_is_without_a_deadline(state, limit):
    main = Main(**LIMITS)
    main.enter(*PASSED[state])
    main.clock.move(LIMITS[limit] - 1)
    assert not main.was_signalled
    main.clock.move(1)
    assert main.was_signalled
    assert main.end(KILLED).startswith(f"FAILED: {state.name} took longer than {limit} ({LIMITS[limit]:g} s)")


def test_a_worker_that_does_not_take_its_script_up_is_followed_by_another():
    main = Main()
    silent = main.process
    main.clock.move(4)
    assert not silent.given_up
    main.clock.move(1)
    assert silent.given_up
    main.kernel.end(silent, KILLED)
    assert len(main.kernel.processes) == 2
    assert main.told == []


def test_a_worker_that_has_said_a_word_has_all_of_its_time():
    main = Main()
    main.enter(S.IDLE)
    main.clock.move(60)
    assert not main.process.given_up


def test_a_procedure_may_be_ready_for_ever():
    main = Main(**LIMITS)
    main.enter(*PASSED[S.READY])
    main.clock.move(1e6)
    assert not main.was_signalled


def test_a_call_that_is_not_begun_has_a_deadline_whatever_the_properties_are():
    main = Main()
    main.enter(*PASSED[S.READY])
    main.call("step")
    main.clock.move(START_PATIENCE - 1)
    assert not main.was_signalled
    main.clock.move(1)
    why = "its process is stopped or hangs, or a listener of the script has not returned"
    assert main.end(KILLED) == f"FAILED: step was not begun within 60 s of its call: {why}"


def test_a_call_that_is_begun_late_has_the_whole_of_its_time():
    main = Main(**LIMITS)
    main.enter(*PASSED[S.READY])
    main.call()
    main.clock.move(START_PATIENCE - 1)
    main.enter(S.RUNNING, fn_name="main")
    main.clock.move(LIMITS["RunTimeout"] - 1)
    assert not main.was_signalled
    main.clock.move(1)
    assert main.end(KILLED).startswith("FAILED: RUNNING took longer than RunTimeout (50 s)")


def completed(**limits: float) -> Main:
    """Return a main whose procedure's `main` has returned after 10 s."""
    main = Main(**limits)
    main.enter(*PASSED[S.READY])
    main.call()
    main.enter(S.RUNNING, fn_name="main")
    main.clock.move(10)
    main.enter(S.READY)
    main.process.say(Finished("completed", main.clock.now, "completed"))
    return main


@pytest.mark.parametrize("status", [KILLED, ExitStatus(0, None)])
def test_run_timeout_counts_until_the_process_has_gone(status):
    main = completed(**LIMITS)
    main.clock.move(39)
    assert not main.was_signalled
    main.clock.move(1)
    assert main.was_signalled
    why = "FAILED: main has returned, but its process had not ended when RunTimeout (50 s) was over"
    assert main.end(status).startswith(why)


def test_a_process_that_has_gone_in_time_has_completed():
    main = completed(**LIMITS)
    main.clock.move(39)
    assert main.end(ExitStatus(0, None)) == "COMPLETE: completed"
    main.clock.move(100)
    assert not main.was_signalled


def test_without_run_timeout_a_process_may_take_its_time_behind_main():
    main = completed(LoadTimeout=20.0, InitTimeout=30.0)
    main.clock.move(1e4)
    assert not main.was_signalled
    assert main.end(ExitStatus(0, None)) == "COMPLETE: completed"


def test_another_function_that_returns_ends_its_deadline():
    main = Main(**LIMITS)
    main.enter(*PASSED[S.READY])
    main.call("step")
    main.enter(S.RUNNING, fn_name="step")
    main.enter(S.READY)
    main.clock.move(1e6)
    assert not main.was_signalled


def test_a_stop_that_was_asked_for_before_the_deadline_is_what_ends_it():
    main = completed(**LIMITS)
    main.supervisor.stop(StopProcess(DEVICE, 1))
    main.clock.move(4)
    assert main.end(KILLED).startswith("STOPPED: stopped on request")
