"""Shared memory of a worker that does not end as it should: Python's resource tracker has a moment to unlink it."""

from __future__ import annotations

import os
import sys

import pytest
from support.main_process import MainProcess
from support.processes import is_gone
from support.waiting import wait_until

pytestmark = pytest.mark.long

SHARED = f"""
import ctypes, multiprocessing, os, signal, subprocess, sys, time
from multiprocessing import resource_tracker, shared_memory
from pubsub import pub

PYTHON = {sys.executable!r}


def main(end, *others):
    memory = shared_memory.SharedMemory(create=True, size=4096)
    lock = multiprocessing.get_context("spawn").Lock()
    names = [memory.name, lock._semlock.name.replace("/", "sem.")]
    pids = [resource_tracker._resource_tracker._pid]
    for other in others:
        globals()[other](names, pids)
    if end == "ignores SIGTERM":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pub.sendMessage("made", names=names, pids=pids)
    if end == "leaves":
        os._exit(3)
    if end == "is killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if end == "crashes":
        ctypes.string_at(0)
    time.sleep(600)


def forked(names, pids):
    '''Holds the pipe of the tracker.'''
    pid = os.fork()
    if pid == 0:
        time.sleep(600)
    pids.append(pid)


def pooled(names, pids):
    '''Hold the pipe of the tracker, and have children that do.'''
    method = multiprocessing.get_context("fork")
    for _ in range(3):
        process = method.Process(target=_with_a_child)
        process.start()
        pids.append(process.pid)


def _with_a_child():
    os.fork()
    time.sleep(600)


def program(names, pids, **how):
    '''Another Python program, which has a tracker of its own.'''
    code = ("from multiprocessing import resource_tracker as r, shared_memory as s; import time;"
            "m = s.SharedMemory(create=True, size=4096); print(m.name, r._resource_tracker._pid, flush=True);"
            "time.sleep(600)")
    process = subprocess.Popen([PYTHON, "-c", code], stdout=subprocess.PIPE, **how)
    name, pid = process.stdout.readline().split()
    names.append(name.decode())
    pids += [process.pid, int(pid)]


def session(names, pids):
    program(names, pids, start_new_session=True)


def forged(names, pids, does="time.sleep(600)"):
    '''Says that it is one, and does not end.'''
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True)\\n" + does
    argv = [PYTHON, "-c", code, "from multiprocessing.resource_tracker import main;main(7)"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE)
    process.stdout.readline()
    pids.append(process.pid)


def forged_busy(names, pids):
    forged(names, pids, "while True: pass")


def hopping(names, pids):
    '''Forks and exits at once, for ever.'''
    if os.fork() == 0:
        while True:
            if os.fork():
                os._exit(0)
"""


@pytest.fixture
def shared(script):
    return script(SHARED, "shared.py")


def ended(main, path, end: str, *others: str, grace: float = 10.0):
    """Have a procedure end; returns its end, what shared memory it had made, and which processes."""
    uid = main.ready(path, grace=grace)
    main.run(uid, "main", end, *others)
    made = main.wait_for_message(uid, "made")
    main.seen.update(made["pids"])
    if end in ("stays", "ignores SIGTERM"):
        assert set(made["names"]) <= set(os.listdir("/dev/shm"))
        main.stop(uid)
    return main.wait_for_end(uid), made["names"], made["pids"]


def left_in_memory(names: list[str]) -> list[str]:
    return sorted(set(names) & set(os.listdir("/dev/shm")))


ENDS = {
    "is killed": (10.0, "FAILED"),
    "leaves": (10.0, "FAILED"),
    "crashes": (10.0, "FAILED"),
    "stays": (0.0, "STOPPED"),
    "ignores SIGTERM": (0.1, "STOPPED"),
}


@pytest.mark.parametrize("end", ENDS)
def test_shared_memory_goes_with_a_worker_that(main, shared, end):
    grace, state = ENDS[end]
    told, names, pids = ended(main, shared, end, grace=grace)
    assert told.new_state.name == state
    assert left_in_memory(names) == []
    assert told.exit["reaped"] == []
    assert all(map(is_gone, pids))


def test_nothing_adds_up_over_twenty_runs(main, shared):
    for number in range(20):
        end = list(ENDS)[number % len(ENDS)]
        told, names, pids = ended(main, shared, end, grace=ENDS[end][0])
        assert left_in_memory(names) == [], f"run {number}, which {end}"
        assert told.exit["reaped"] == [], f"run {number}, which {end}"
        assert all(map(is_gone, pids))


@pytest.mark.parametrize("end", ["is killed", "ignores SIGTERM"])
@pytest.mark.parametrize("other", ["forked", "pooled", "program", "session"])
def test_it_goes_once_those_who_hold_the_pipe_of_a_tracker_are_killed(main, shared, end, other):
    told, names, pids = ended(main, shared, end, other, grace=0.1)
    assert left_in_memory(names) == []
    assert all(map(is_gone, pids))
    holders = pids[1:-1] if other in ("program", "session") else pids[1:]
    assert set(holders) <= set(told.exit["reaped"])
    assert pids[0] not in told.exit["reaped"], "it has ended by itself"


@pytest.mark.parametrize("end", ["is killed", "stays"])
@pytest.mark.parametrize("forged", ["forged", "forged_busy"])
def test_one_that_says_it_is_a_tracker_and_does_not_end_is_killed_and_named(main, shared, forged, end):
    told, names, pids = ended(main, shared, end, forged, grace=0.0)
    assert told.exit["reaped"] == [pids[1]]
    assert all(map(is_gone, pids))
    assert left_in_memory(names) == []


def test_who_forks_and_exits_at_once_beside_a_tracker_does_not_escape(main, shared):
    told, _, pids = ended(main, shared, "is killed", "hopping")
    assert told.new_state.name == "FAILED"
    wait_until(lambda: all(map(is_gone, pids)), 5)


def test_it_goes_with_main_when_nobody_has_use_for_that_any_more(shared):
    main = MainProcess()
    uid = main.ready(shared)
    main.run(uid, "main", "ignores SIGTERM", "forked")
    made = main.wait_for_message(uid, "made")
    main.seen.update(made["pids"])
    main.end()
    assert left_in_memory(made["names"]) == []
