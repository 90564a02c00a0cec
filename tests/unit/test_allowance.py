"""Deadlines by a clock that goes on while main stands still, in a real event loop."""

from __future__ import annotations

import signal
import time
from types import SimpleNamespace

import pytest
from support.modelled import Kernel

from ska_oet_device.mptools import EventLoop
from ska_oet_device.procedure.state import ProcedureState
from ska_oet_device.procedure.supervision import _allowance
from ska_oet_device.procedure.supervision._allowance import Allowance
from ska_oet_device.procedure.supervision._deadline import Deadline
from ska_oet_device.procedure.supervision._ending import Ending

SHORT = 0.02


@pytest.fixture
def loop():
    made = EventLoop()
    yield made
    made.close()


@pytest.fixture
def stand_still(monkeypatch):
    """Return a function that has time pass in which nobody runs; no other passes, however busy the machine is."""
    now = [time.monotonic()]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def stand(seconds: float) -> None:
        now[0] += seconds

    return stand


def go_on(loop: EventLoop) -> None:
    loop.call_later(0.0, loop.stop)
    loop.run()
    loop._stopped = False


class TestAllowance:
    def test_that_is_not_late_is_over_at_its_time(self, loop, stand_still):
        called: list[int] = []
        Allowance(loop, SHORT, lambda: called.append(1))
        go_on(loop)
        assert called == []
        stand_still(SHORT)
        go_on(loop)
        assert called == [1]

    def test_that_is_late_is_given_once_more_and_not_again(self, loop, stand_still):
        called: list[int] = []
        Allowance(loop, 5.0, lambda: called.append(1))
        stand_still(60)
        go_on(loop)
        assert called == []
        stand_still(60)
        go_on(loop)
        assert called == [1]

    def test_of_hours_is_given_no_more_than_the_most(self, loop, stand_still, monkeypatch):
        monkeypatch.setattr(_allowance, "MOST_AGAIN", SHORT)
        called: list[int] = []
        Allowance(loop, 3600.0, lambda: called.append(1))
        stand_still(7200)
        go_on(loop)
        assert called == []
        stand_still(SHORT)
        go_on(loop)
        assert called == [1]

    def test_can_be_taken_back_also_when_it_is_given_once_more(self, loop, stand_still):
        called: list[int] = []
        allowance = Allowance(loop, SHORT, lambda: called.append(1))
        stand_still(60)
        go_on(loop)
        allowance.cancel()
        stand_still(5 * SHORT)
        go_on(loop)
        assert called == []


class TestEnding:
    @pytest.fixture
    def kernel(self):
        return Kernel()

    @pytest.fixture
    def process(self, kernel):
        kernel.take(lambda process: None)
        (process,) = kernel.processes.values()
        return process

    @pytest.fixture
    def unkillable(self):
        return []

    @pytest.fixture
    def ending(self, loop, kernel, process, unkillable):
        return Ending(loop, kernel, SimpleNamespace(pid=process.pid), 5.0, unkillable.append, lambda: "")

    def test_the_grace_period_is_none_in_which_nobody_ran(self, loop, kernel, process, ending, stand_still):
        ending.begin(ProcedureState.STOPPED, "stopped on request")
        stand_still(60)
        go_on(loop)
        assert kernel.ill[process.pid] == (signal.SIGTERM,)
        stand_still(60)
        go_on(loop)
        assert kernel.ill[process.pid] == (signal.SIGKILL,)

    def test_who_was_frozen_with_its_sigkill_is_not_called_unkillable(
        self, loop, process, ending, unkillable, stand_still
    ):
        ending.kill("killed")
        stand_still(60)
        go_on(loop)
        assert unkillable == []
        stand_still(60)
        go_on(loop)
        assert unkillable == [f"process {process.pid} is still alive 120 s after SIGKILL (uninterruptible sleep)"]


def test_a_phase_is_not_too_long_for_time_in_which_nobody_ran(loop, stand_still):
    late: list[str] = []
    deadline = Deadline(loop, {"RunTimeout": 30.0}, late.append)
    deadline.enter(ProcedureState.RUNNING)
    stand_still(60)
    go_on(loop)
    assert late == []
    stand_still(60)
    go_on(loop)
    assert late == ["RUNNING took longer than RunTimeout (30 s)"]
