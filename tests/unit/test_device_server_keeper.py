"""Main's patience with the device server, by a clock that the test moves."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from support.modelled import Clock, Kernel

from ska_oet_device.procedure.messages import HistoryMigrates, Pong, ServerReady, ServerStarts
from ska_oet_device.procedure.supervision import DeviceServerKeeper


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def kernel():
    return Kernel()


@pytest.fixture
def keeper(clock, kernel):
    """One whose device server has been started, and is silent."""
    journal = SimpleNamespace(send=lambda frame: None)
    made = DeviceServerKeeper(
        clock, kernel, journal, [], lambda: None, lambda message: None, lambda: None, lambda code: None, lambda: False
    )
    kernel.take(lambda process: None)
    (made._pid,) = kernel.processes
    made._watch.begin(120.0)
    return made


def test_the_silence_of_a_start_is_not_held_against_one_that_is_ready(clock, kernel, keeper):
    clock.move(60)
    keeper._handle(ServerReady())
    clock.move(9)
    assert kernel.ill == {}
    keeper._handle(Pong(0))
    clock.move(8)
    assert kernel.ill == {}


def test_one_that_is_ready_and_then_silent_is_killed(clock, kernel, keeper):
    keeper._handle(ServerReady())
    clock.move(11)
    assert kernel.ill == {keeper._pid: (9,)}


def answer_for(clock, keeper, seconds: int) -> None:
    """Have the device server answer every second of this."""
    for _ in range(seconds):
        clock.move(1)
        keeper._handle(Pong(0))


def test_a_start_that_takes_too_long_is_ended_and_one_that_migrates_the_history_is_waited_for(clock, kernel, keeper):
    keeper._handle(ServerStarts())
    for _ in range(10):
        answer_for(clock, keeper, 170)
        keeper._handle(HistoryMigrates())
    answer_for(clock, keeper, 170)
    assert kernel.ill == {}
    answer_for(clock, keeper, 11)
    assert kernel.ill == {keeper._pid: (9,)}


def test_one_that_serves_may_migrate_a_history_that_has_come_back(clock, kernel, keeper):
    keeper._handle(ServerStarts())
    keeper._handle(ServerReady())
    keeper._handle(HistoryMigrates())
    answer_for(clock, keeper, 600)
    assert kernel.ill == {}
