"""What has been reached for certain, whatever the clock says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ska_oet_device.retention import FIRST_DATE, Retention

NOW = FIRST_DATE + 300 * 86400
YEAR = 365 * 86400.0


class Clocks:
    """Two clocks that go by hand, and what is found by looking at them each second."""

    def __init__(self, wall: float = NOW) -> None:
        self.wall, self.monotonic = wall, 1000.0
        self.retention = Retention(lambda: self.wall, lambda: self.monotonic)
        self.retention.look()

    def go(self, seconds: float, step: float = 1.0) -> list[float | None]:
        """Let time pass, and return what was told meanwhile."""
        told = []
        for _ in range(int(seconds / step)):
            self.wall, self.monotonic = self.wall + step, self.monotonic + step
            told.append(self.retention.look())
        return told


def test_nothing_is_certain_in_the_first_hour_and_what_was_an_hour_ago_after_it():
    clocks = Clocks()
    assert set(clocks.go(3599)) == {None}
    assert clocks.go(1) == [NOW]
    for told in clocks.go(7200):
        assert told is not None
    assert clocks.wall - 3900 <= told <= clocks.wall - 3600


@pytest.mark.parametrize("jump", [YEAR, -YEAR, 86400.0, -86400.0, 3600.0, -3600.0, 100 * YEAR, -NOW])
def test_a_clock_that_is_wrong_for_some_seconds_is_never_believed(jump):
    clocks = Clocks()
    clocks.go(5000)
    clocks.wall += jump
    assert set(clocks.go(7)) == {None}
    clocks.wall -= jump
    assert set(clocks.go(3599)) == {None}
    assert clocks.go(2)[-1] == pytest.approx(clocks.wall - 3600, abs=5)


def test_a_clock_that_begins_at_the_epoch_and_is_set_later_is_believed_an_hour_later():
    clocks = Clocks(wall=0.0)
    assert all(told is None or told < YEAR for told in clocks.go(5000))
    clocks.wall = NOW
    assert set(clocks.go(3599)) == {None}
    assert clocks.go(2)[-1] == pytest.approx(NOW, abs=5)


def test_a_clock_that_is_corrected_in_small_steps_is_believed():
    clocks = Clocks()
    told: list[float | None] = []
    for _ in range(100):
        clocks.wall += 0.5
        told += clocks.go(120)
    assert told[-1] is not None


def test_one_that_creeps_away_is_not():
    clocks = Clocks()
    told: list[float | None] = []
    for _ in range(100):
        clocks.wall += 4.0
        told += clocks.go(120)
    assert set(told) == {None}


def test_what_is_looked_at_seldom_is_believed_as_well():
    clocks = Clocks()
    assert clocks.go(20 * 1800, step=1800.0)[-1] == pytest.approx(clocks.wall - 3600)


def test_a_doubt_is_said_in_the_log(caplog):
    clocks = Clocks()
    clocks.wall += 1000
    clocks.go(10)
    assert caplog.text.count("the clock was set by +1000 s") == 1


@given(st.lists(st.tuples(st.floats(-3 * YEAR, 3 * YEAR), st.integers(1, 40)), max_size=20))
def test_nothing_that_the_clock_says_for_less_than_an_hour_is_ever_told(jumps):
    clocks = Clocks()
    for jump, minutes in jumps:
        true, clocks.wall = clocks.wall, clocks.wall + jump
        wrong = clocks.go(minutes * 60, step=60.0)
        clocks.wall = true + minutes * 60
        clocks.go(60, step=60.0)
        assert all(told is None or told <= clocks.wall for told in wrong)
