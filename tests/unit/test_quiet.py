"""The lists of procedures are pushed when nothing else waits, and leave the thread of events to others."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from ska_oet_device.procedure.ui._quiet import QuietMoments


@dataclass(frozen=True)
class _Group:
    name: str


_ROWS, _LIST = _Group("rows"), _Group("procedures")


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


@pytest.fixture
def quiet(clock: _Clock) -> QuietMoments:
    return QuietMoments(clock)


def test_what_nobody_asked_for_is_not_due(quiet):
    assert not quiet.is_due(_LIST, is_quiet=True)
    assert quiet.seconds_until_due() is None


def test_a_list_is_due_at_once_when_nothing_else_waits(quiet):
    quiet.ask([_ROWS, _LIST], 5.0)
    assert quiet.is_due(_LIST, is_quiet=True)
    assert not quiet.is_due(_LIST, is_quiet=False)
    assert quiet.seconds_until_due() == 0.0


def test_it_does_not_wait_for_ever_for_a_quiet_moment(quiet, clock):
    quiet.ask([_LIST], 5.0)
    clock.now += 0.2
    quiet.ask([_LIST], 6.0)
    clock.now += 0.1
    assert quiet.is_due(_LIST, is_quiet=False)
    assert quiet.time == 6.0


def test_what_took_long_is_pushed_seldom(quiet, clock):
    quiet.ask([_LIST], 5.0)
    clock.now += 0.01
    quiet.pushed(_LIST, clock.now - 0.01, 100)
    quiet.ask([_LIST], 6.0)
    assert quiet.seconds_until_due() == pytest.approx(0.09)
    assert not quiet.is_due(_LIST, is_quiet=True)
    clock.now += 0.1
    assert quiet.is_due(_LIST, is_quiet=True)


def test_what_is_large_is_pushed_seldom_and_the_small_do_not_wait_for_it(quiet, clock):
    quiet.ask([_ROWS, _LIST], 5.0)
    for group, size in ((_ROWS, 100), (_LIST, 128 * 1024)):
        quiet.pushed(group, clock.now, size)
    quiet.ask([_ROWS, _LIST], 6.0)
    clock.now += 0.01
    assert quiet.is_due(_ROWS, is_quiet=True)
    assert not quiet.is_due(_LIST, is_quiet=True)
    clock.now += 0.125
    assert quiet.is_due(_LIST, is_quiet=True)


def test_none_waits_for_more_than_a_second(quiet, clock):
    quiet.ask([_LIST], 5.0)
    quiet.pushed(_LIST, clock.now - 60, 100_000_000)
    quiet.ask([_LIST], 6.0)
    assert quiet.seconds_until_due() == 1.0


def test_what_has_been_pushed_is_not_due_again(quiet, clock):
    quiet.ask([_LIST], 5.0)
    quiet.pushed(_LIST, clock.now, 10)
    clock.now += 10
    assert quiet.seconds_until_due() is None
    assert not quiet.is_asked(_LIST)
