"""Main's look at whether another process answers, in a real event loop."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from ska_oet_device.mptools import EventLoop
from ska_oet_device.procedure.supervision import _watch
from ska_oet_device.procedure.supervision._watch import Watch

PERIOD = 0.02


@pytest.fixture
def loop(monkeypatch):
    monkeypatch.setattr(_watch, "WATCH_PERIOD", PERIOD)
    made = EventLoop()
    yield made
    made.close()


class Other:
    """Who is watched."""

    def __init__(self, loop: EventLoop) -> None:
        self.questions = 0
        self.answers = True
        self.hung: list[float] = []
        self.watch = Watch(loop, self.ask, self.hung.append)

    def ask(self) -> None:
        self.questions += 1
        if self.answers:
            self.watch.note_answer()


def run_until(loop: EventLoop, condition: Callable[[], object]) -> None:
    """Have the loop run until that is so: a busy machine has it look less often than in so many periods."""

    def look() -> None:
        if condition():
            loop.stop()
        else:
            loop.call_later(PERIOD / 4, look)

    look()
    watchdog = loop.call_later(20, loop.stop)
    loop.run()
    loop._stopped = False
    watchdog.cancel()
    assert condition()


def test_one_that_answers_is_asked_again_and_again(loop):
    other = Other(loop)
    other.watch.begin(3 * PERIOD)
    run_until(loop, lambda: other.questions > 3)
    assert other.hung == []


def test_one_that_does_not_answer_is_told_of_once(loop):
    other = Other(loop)
    other.answers = False
    other.watch.begin(3 * PERIOD)
    run_until(loop, lambda: other.hung)
    loop.call_later(10 * PERIOD, loop.stop)
    loop.run()
    assert other.hung == [pytest.approx(3 * PERIOD)]
    assert other.questions == 1


def test_a_late_answer_is_an_answer(loop):
    other = Other(loop)
    other.answers = False
    other.watch.begin(1000 * PERIOD)
    loop.call_later(3 * PERIOD, other.watch.note_answer)
    run_until(loop, lambda: other.questions == 2)
    assert other.hung == []


def test_time_in_which_this_process_has_not_run_itself_does_not_count(loop):
    other = Other(loop)
    other.answers = False
    other.watch.begin(3 * PERIOD)
    loop.call_later(PERIOD / 2, lambda: time.sleep(20 * PERIOD))  # as if it had been stopped
    loop.call_later(21 * PERIOD, other.watch.note_answer)
    loop.call_later(21.2 * PERIOD, loop.stop)
    loop.run()
    assert other.hung == []


def test_one_that_is_watched_no_more_is_not_asked(loop):
    other = Other(loop)
    other.watch.begin(3 * PERIOD)
    other.watch.end()
    loop.call_later(5 * PERIOD, loop.stop)
    loop.run()
    assert (other.questions, other.hung) == (1, [])
