"""Calls at once, of which some hang."""

from __future__ import annotations

import threading
import time

from ska_oet_device.client._crew import Crew, Returned, all_done


def test_calls_that_hang_delay_no_other_and_are_told_as_late():
    over = threading.Event()
    try:
        calls = {f"hangs {number}": over.wait for number in range(4)}
        # The limit is that of those that answer, too: a busy machine may take a second or two for them.
        done = all_done({**calls, "answers": lambda: 3, "fails": lambda: 1 // 0}, 3.0, 4)
    finally:
        over.set()
    assert (done["answers"].result, done["answers"].error) == (3, None)
    assert isinstance(done["fails"].error, ZeroDivisionError)
    assert all(isinstance(done[name].error, TimeoutError) for name in calls)


def test_there_are_never_more_at_once_than_there_are_slots():
    lock, now, most = threading.Lock(), [0], [0]

    def call() -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.005)
        with lock:
            now[0] -= 1

    assert len(all_done({str(number): call for number in range(40)}, 60, 3)) == 40
    assert most[0] <= 3


def test_what_was_given_up_and_what_another_crew_has_done_is_not_taken():
    crew, other = Crew(1, lambda returned: None), Crew(1, lambda returned: None)
    crew.ask("late", lambda: None, 0.0)
    (late,) = crew.expire()
    assert (late.key, isinstance(late.error, TimeoutError)) == ("late", True)
    assert crew.take(Returned(crew, 1, 7, None)) is None
    crew.ask("next", lambda: None, 60)
    assert crew.take(Returned(other, 2, 7, None)) is None
    found = crew.take(Returned(crew, 2, 7, None))
    assert found is not None
    assert (found.key, found.result, len(crew)) == ("next", 7, 0)
