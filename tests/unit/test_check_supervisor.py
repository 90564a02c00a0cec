"""What main does with checks: two at once, and none of them believed more than it can be; with modelled processes."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from support.modelled import Clock, IdleUndertaker, Kernel, Process

from ska_oet_device.mptools import ExitStatus
from ska_oet_device.procedure.messages import (
    CHECK_STEPS,
    LONGEST_REASON,
    Check,
    CheckDone,
    CheckFindings,
    CheckStep,
    Finished,
    LifecycleMessage,
    Load,
    ScriptLoaded,
    StateEntered,
)
from ska_oet_device.procedure.state import ProcedureState
from ska_oet_device.procedure.supervision import _checks
from ska_oet_device.procedure.supervision._checks import CheckSupervisor
from ska_oet_device.procedure.supervision._script import Shared, SupervisedScript
from ska_oet_device.procedure.supervision._shared_memory import SharedMemoryWatch

KILLED = ExitStatus(None, 9)
PROVENANCE = {"path": "/a.py", "sha256": "0", "git_commit": None, "environment": None}
FUNCTION = {"signature": "()", "docstring": None, "parameters": {}}


class Loop(Clock):
    """Calls what is to be called before waiting when the test says that it waits."""

    def __init__(self) -> None:
        super().__init__()
        self._before: list[Any] = []

    def before_waiting(self, callback: Any) -> None:
        self._before.append(callback)

    def wait(self) -> None:
        while self._before:
            self._before.pop(0)()


class Station:
    """A supervisor of checks, the processes of these, and what the device server is told."""

    def __init__(self) -> None:
        self.told: list[CheckDone] = []
        self.kernel, self.loop = Kernel(), Loop()
        nobody: Any = SimpleNamespace()
        recorder: Any = SimpleNamespace()
        shared = Shared(
            self.loop,  # type: ignore[arg-type]
            self.kernel,  # type: ignore[arg-type]
            nobody,
            IdleUndertaker(None, None),  # type: ignore[arg-type]
            nobody,
            nobody,
            SharedMemoryWatch(self.loop),  # type: ignore[arg-type]
            recorder,
            nobody,
        )
        self.checks = CheckSupervisor(shared, self.told.append, "", ())
        self.closed: list[str] = []
        pool: Any = SimpleNamespace(
            take=self.kernel.take,
            note_activity=lambda: None,
            problems=(),
            configure=lambda spares, preload: self.closed.append(f"{spares} {preload}"),
            close=lambda: self.closed.append("closed"),
        )
        self.checks._pool = pool

    def ask(self, check_id: int, device: str = "d", **more: Any) -> Process | None:
        """Ask for a check; returns its process, if it has one."""
        before = set(self.kernel.processes)
        limits = {"LoadTimeout": 2.0}
        self.checks.create(
            Check(0, f"run-{check_id}", {}, "/a.py", [], {}, {}, limits, 5.0, device=device, check_id=check_id, **more)
        )
        return next((self.kernel.processes[pid] for pid in self.kernel.processes if pid not in before), None)

    def end(self, process: Process) -> None:
        self.kernel.end(process, KILLED)
        self.loop.wait()


@pytest.fixture
def station():
    return Station()


def steps(*names: str, **failed: str) -> list[CheckStep]:
    return [CheckStep(name, name not in failed, failed.get(name), 1.0) for name in names]


def entered(state: ProcedureState) -> StateEntered:
    return StateEntered(int(state), 1.0)


def loads(process: Process) -> None:
    process.say(entered(ProcedureState.IDLE), entered(ProcedureState.LOADING), ScriptLoaded(PROVENANCE))


ALL = ("found", "compiles", "imports", "functions", "arguments")


def test_a_check_that_has_told_its_last_step_is_killed_and_then_reported(station):
    process = station.ask(5)
    loads(process)
    process.say(*steps(*ALL[:3]), CheckFindings("Observes.", {"main": FUNCTION}))
    assert not station.kernel.ill
    process.say(*steps(*ALL[3:]))
    assert station.kernel.ill[process.pid] == (9,)
    assert station.told == []
    station.end(process)
    (done,) = station.told
    assert (done.device, done.check_id, done.provenance) == ("d", 5, PROVENANCE)
    assert list(done.steps) == list(ALL)
    assert (done.docstring, done.functions) == ("Observes.", {"main": FUNCTION})


def test_nothing_is_looked_for_behind_a_step_that_has_failed(station):
    process = station.ask(5)
    loads(process)
    process.say(*steps("found", compiles="SyntaxError"), CheckStep("compiles", False, "SyntaxError: no", 1.0))
    process.say(*steps("imports"))
    station.end(process)
    assert list(station.told[0].steps) == ["found", "compiles"]
    assert station.told[0].steps["compiles"]["reason"] == "SyntaxError: no"


def test_the_step_that_a_process_dies_in_has_failed(station):
    process = station.ask(5)
    loads(process)
    process.say(*steps("found", "compiles"))
    station.kernel.end(process, ExitStatus(3, None))
    assert station.told[0].steps["imports"]["reason"] == "the process ended with exit code 3 in LOADING"


@pytest.mark.parametrize(
    "forged",
    [
        [entered(ProcedureState.READY)],
        [entered(ProcedureState.INITIALISING)],
        steps("found", "found"),
        steps("compiles", "found"),
        [CheckFindings("a", {}), CheckFindings("a", {})],
        [Finished("completed", 1.0, "completed")],
    ],
    ids=lambda forged: " ".join(type(message).__name__ for message in forged),
)
def test_what_cannot_be_so_is_the_end_of_a_check(station, forged):
    process = station.ask(5)
    process.silence = lambda: None
    loads(process)
    process.say(*forged)
    assert station.kernel.ill[process.pid] == (9,)
    station.end(process)
    (failed,) = [step for step in station.told[0].steps.values() if not step["ok"]]
    assert "its pipe is broken" in failed["reason"]


def test_a_check_that_takes_too_long_is_killed_without_grace(station):
    process = station.ask(5)
    loads(process)
    process.say(*steps("found", "compiles"))
    station.loop.move(1.9)
    assert not station.kernel.ill
    station.loop.move(0.2)
    assert station.kernel.ill[process.pid] == (9,)
    station.end(process)
    assert station.told[0].steps["imports"]["reason"] == (
        "LOADING took longer than LoadTimeout (2 s); the process was killed"
    )


def test_a_process_is_waited_for_longer_than_a_script_may_take(station):
    station.checks._pool.take = lambda on_worker: lambda: None
    station.checks._pool.problems = ("no worker can be forked",)
    assert station.ask(5) is None
    station.loop.move(59.0)
    assert station.told == []
    station.loop.move(2.0)
    assert station.told[0].steps["found"]["reason"] == "CREATING took longer than 60 s: no worker can be forked"


def test_two_run_at_once_and_the_others_wait_for_their_turn(station):
    first, second = station.ask(1), station.ask(2)
    assert station.ask(3) is None
    assert station.ask(4) is None
    loads(first)
    first.say(*steps("found", compiles="no"), CheckStep("compiles", False, "no", 1.0))
    station.end(first)
    assert [done.check_id for done in station.told] == [1]
    assert len(station.kernel.processes) == 3
    station.end(second)
    assert len(station.kernel.processes) == 4


def test_a_device_does_not_wait_for_all_that_another_has_asked(station):
    for check_id in range(1, 5):
        station.ask(check_id)
    station.ask(5, device="e")
    station.ask(6, device="e")
    while waiting := [process for process in station.kernel.processes.values() if not process.ended]:
        loads(waiting[0])
        waiting[0].say(*steps("found", "compiles", compiles="no"))
        station.end(waiting[0])
    assert [done.check_id for done in station.told] == [1, 2, 5, 3, 6, 4]


def test_the_template_ends_when_nothing_has_been_checked_for_minutes(station):
    process = station.ask(1)
    loads(process)
    process.say(*steps(*ALL))
    station.end(process)
    station.loop.move(200.0)
    second = station.ask(2)
    station.loop.move(200.0)
    assert station.closed == []
    loads(second)
    second.say(*steps(*ALL))
    station.end(second)
    station.loop.move(299.0)
    assert station.closed == []
    station.loop.move(2.0)
    assert station.closed == ["closed"]


def test_what_is_imported_ahead_is_that_of_procedures(station):
    station.checks.configure(["numpy"])
    assert station.closed == ["0 ['numpy']"]


def test_nobody_is_told_of_checks_whose_device_server_has_gone(station):
    processes = [station.ask(number) for number in (1, 2)]
    station.ask(3)
    station.checks.end_all()
    assert [station.kernel.ill[process.pid] for process in processes] == [(9,), (9,)]
    for process in processes:
        station.end(process)
    assert station.told == []
    assert len(station.kernel.processes) == 2


def unkillable(station: Station, check_id: int) -> Process:
    process = station.ask(check_id)
    process.obeys = set()
    loads(process)
    process.say(*steps(*ALL))
    station.loop.move(3.0)
    station.loop.wait()
    return process


def test_a_process_that_cannot_be_killed_is_told_and_holds_nobody_up(station):
    stuck = [unkillable(station, number) for number in range(1, 5)]
    for done in station.told:
        assert done.steps["imports"]["ok"] is False
        assert "cannot be killed" in done.steps["imports"]["reason"] or "still alive" in done.steps["imports"]["reason"]
    assert station.ask(5) is None
    assert (
        "while processes of earlier ones cannot be killed: check 1 of d, " in station.told[-1].steps["found"]["reason"]
    )
    station.end(stuck[0])
    assert len(station.told) == 5  # it is not told once more
    assert station.ask(6) is not None


def test_a_fault_of_this_program_fails_the_check_alone(station, monkeypatch, caplog):
    def broken(*_: object) -> None:
        raise ZeroDivisionError("our fault")

    with monkeypatch.context() as patched:
        patched.setattr(_checks, "CheckedScript", broken)
        assert station.ask(1) is None
    assert station.told[0].steps["found"]["reason"] == "internal fault of OET: ZeroDivisionError: our fault"
    assert station.ask(2) is not None
    assert "check 1 of d cannot be made" in caplog.text


def test_what_was_killed_is_told_however_long_the_reason_is(station):
    process = station.ask(1)
    loads(process)
    process.say(*steps("found", "compiles"), CheckStep("imports", False, "x" * LONGEST_REASON, 1.0))
    station.checks._running[0].findings.announce(
        LifecycleMessage(0, ProcedureState.FAILED, exit={"reaped": [4711, 4712]})
    )
    reason = station.checks._running[0].findings.report().steps["imports"]["reason"]
    assert len(reason) == 1000
    assert reason.endswith("…; what it had started was killed: process 4711, 4712")


def test_a_procedure_s_worker_checks_nothing(station):
    told = []
    ears = SimpleNamespace(announce=told.append, ended=lambda script: None)
    shared = replace(
        station.checks._shared,
        announcer=ears,
        neighbourhood=ears,
        pool=SimpleNamespace(take=station.kernel.take, note_activity=lambda: None),
    )
    SupervisedScript(Load(1, "run", {}, "/a.py", [], {}, {}, {}, 5.0, device="d"), shared).begin()
    (process,) = station.kernel.processes.values()
    process.silence = lambda: None
    loads(process)
    process.say(*steps("found"))
    station.kernel.end(process, KILLED)
    assert told[-1].new_state is ProcedureState.FAILED
    assert "its pipe is broken: nothing of it is being checked" in told[-1].reason


def test_the_environment_is_the_step_under_way_only_where_there_is_one():
    assert CHECK_STEPS == ("found", "compiles", "environment", "imports", "functions", "arguments")
    for create_env, expected in ((True, "environment"), (False, "imports")):
        station = Station()
        process = station.ask(1, source={"create_env": create_env})
        process.say(entered(ProcedureState.IDLE), entered(ProcedureState.PREP_ENV), *steps("found", "compiles"))
        station.kernel.end(process, ExitStatus(3, None))
        assert list(station.told[0].steps)[-1] == expected
