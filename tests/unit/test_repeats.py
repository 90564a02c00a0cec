"""When values are pushed once more."""

from ska_oet_device.procedure.ui._repeats import Repeats


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_nothing_is_due_before_something_changes():
    repeats = Repeats(_Clock())
    assert repeats.seconds_until_due() is None
    assert not repeats.take()


def test_a_change_is_repeated_after_a_second_and_after_five_and_no_more():
    clock = _Clock()
    repeats = Repeats(clock)
    repeats.ask()
    assert repeats.seconds_until_due() == 1.0
    assert not repeats.take()
    clock.now += 1.0
    assert (repeats.take(), repeats.take()) == (True, False)
    assert repeats.seconds_until_due() == 4.0
    clock.now += 4.0
    assert (repeats.take(), repeats.take()) == (True, False)
    assert repeats.seconds_until_due() is None


def test_changes_that_go_on_are_repeated_once_a_second():
    clock = _Clock()
    repeats = Repeats(clock)
    taken = 0
    for _ in range(100):
        repeats.ask()
        clock.now += 0.1
        taken += repeats.take()
    assert taken == 9
    assert repeats.seconds_until_due() <= 1.0


def test_a_thread_that_comes_late_repeats_once():
    clock = _Clock()
    repeats = Repeats(clock)
    repeats.ask()
    clock.now += 60.0
    assert (repeats.take(), repeats.take()) == (True, False)
    assert repeats.seconds_until_due() is None
