"""The look at shared memory: main does it in small pieces."""

from __future__ import annotations

import mmap
import os
import threading

import pytest
from support.modelled import Clock

from ska_oet_device.procedure.supervision import _shared_memory
from ska_oet_device.procedure.supervision._shared_memory import SharedMemoryWatch

MIB = 1024 * 1024


class CountingClock(Clock):
    """Counts the turns that something has taken."""

    turns = 0

    def call_later(self, seconds, callback):
        def call() -> None:
            self.turns += 1
            callback()

        return super().call_later(seconds, call)


class Owner:
    def __init__(self) -> None:
        self.faults: list[Exception] = []
        self.reasons: list[str] = []
        self.is_over = False

    def fail_internally(self, error: Exception) -> None:
        self.faults.append(error)

    def end(self, reason: str) -> None:
        self.reasons.append(reason)
        self.is_over = True

    def watched_by(self, watch: SharedMemoryWatch, limit: int, pid=os.getpid) -> None:
        watch.add(self, limit, pid, lambda: self.is_over, self.end)


@pytest.fixture
def held():
    with mmap.mmap(-1, 40 * MIB) as memory:
        for place in range(0, len(memory), 4096):
            memory[place] = 1
        yield


@pytest.fixture
def thirty_threads():
    done = threading.Event()
    threads = [threading.Thread(target=done.wait) for _ in range(30)]
    for thread in threads:
        thread.start()
    yield
    done.set()
    for thread in threads:
        thread.join()


@pytest.mark.usefixtures("thirty_threads")
def test_a_look_that_takes_long_goes_on_in_the_next_turns(monkeypatch):
    monkeypatch.setattr(_shared_memory, "_LONGEST_LOOK", 0.0)  # every step is too long
    clock = CountingClock()
    watch, owner = SharedMemoryWatch(clock), Owner()
    owner.watched_by(watch, 1 << 40)
    clock.move(2.9)
    assert clock.turns > 30
    assert owner.reasons == owner.faults == []


@pytest.mark.usefixtures("held")
def test_there_is_one_timer_for_all_and_each_has_a_limit_of_its_own():
    clock = CountingClock()
    watch, owners = SharedMemoryWatch(clock), [Owner() for _ in range(20)]
    for number, owner in enumerate(owners):
        owner.watched_by(watch, MIB if number == 7 else 1 << 40)
    assert len(clock._timers) == 1
    clock.move(5.5)
    assert [number for number, owner in enumerate(owners) if owner.reasons] == [7]
    assert "MaxMemory is 1 MiB" in owners[7].reasons[0]
    for owner in owners:
        owner.is_over = True
    clock.move(3)
    assert not clock._timers


@pytest.mark.usefixtures("held")
def test_a_fault_with_one_is_told_to_it_and_keeps_nobody_from_the_others():
    clock = CountingClock()
    watch, ill, other = SharedMemoryWatch(clock), Owner(), Owner()

    def no_pid() -> int:
        raise RuntimeError("hostile")

    ill.watched_by(watch, MIB, no_pid)
    other.watched_by(watch, MIB)
    clock.move(1.5)
    assert [str(fault) for fault in ill.faults] == ["hostile"]
    assert len(other.reasons) == 1


def test_a_process_that_is_not_in_the_tree_any_more_ends_nobody():
    assert _shared_memory._descends(os.getpid(), os.getppid())
    assert not _shared_memory._descends(os.getppid(), os.getpid())
