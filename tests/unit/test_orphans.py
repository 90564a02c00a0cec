"""What is cleaned up behind an ended worker, seen alone; the rest of it is tested with a whole main process."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from types import SimpleNamespace

import pytest
from support.forked import in_a_child
from support.sources import END_MAIN_THREAD
from support.waiting import wait_until

from ska_oet_device.mptools import Children, EventLoop, Signalled, _process, all_pids, spawn, stat_of
from ska_oet_device.procedure.supervision import _orphans
from ska_oet_device.procedure.supervision._ending import Ending
from ska_oet_device.procedure.supervision._helpers import LONGEST_MOMENT
from ska_oet_device.procedure.supervision._orphans import Undertaker

NOBODY = 65534


def buried(pid: int, children: Children, more=lambda loop: None) -> tuple[list[int], list[int]]:
    """Have what an ended worker has left behind be ended; returns what was killed, and what survives."""
    loop, told = EventLoop(), []
    children.reap_in(loop)

    def done(killed, survivors):
        told.append((killed, survivors))
        more(loop)
        loop.before_waiting(loop.stop)

    Undertaker(loop, children).bury(pid, "a run", done)
    loop.run()
    loop.close()
    return told[0]


def sleeping(*, watched_by: Children | None = None) -> int:
    pid = spawn(["/bin/sleep", "60"], dict(os.environ), {})
    wait_until(lambda: (stat := stat_of(pid)) and stat.group == pid)
    if watched_by is not None:
        watched_by.watch(pid, lambda status: None)
    return pid


@in_a_child
def test_a_stranger_who_was_given_the_id_of_an_ended_worker_is_left_alone_with_its_group():
    children = Children()
    pid = sleeping(watched_by=children)
    assert buried(pid, children) == ([], [])
    os.kill(pid, signal.SIGTERM)
    assert os.waitpid(pid, 0) == (pid, signal.SIGTERM)  # not what it would have died of before


@in_a_child
def test_the_end_is_told_when_nothing_is_left():
    children, watched = Children(), sleeping()
    stray = sleeping()
    children.watch(watched, lambda status: None)
    assert buried(2**22 + 1, children) == ([stray], [])
    assert children.present() == [watched]
    os.kill(watched, signal.SIGKILL)
    os.waitpid(watched, 0)


@pytest.fixture
def lifeline():
    """Return how to start a process of another user, as which the caller goes on; it ends with the test."""
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: only root can make processes of two users")
    reader, writer = os.pipe()

    def start(live) -> int:
        pid = os.fork()
        if pid == 0:
            os.closerange(3, reader)
            os.closerange(reader + 1, 4096)
            os.setsid()
            live(lambda: (os.read(reader, 1), os._exit(0)))
        wait_until(lambda: stat_of(pid).session == pid)
        return pid

    yield start
    os.close(writer)
    os.close(reader)


@in_a_child
def test_one_whose_main_thread_has_ended_while_another_goes_on_is_alive(lifeline, monkeypatch):
    monkeypatch.setattr(_orphans, "_GIVE_UP_REFUSED_AFTER", 0.05)
    program: dict = {}
    exec(END_MAIN_THREAD, program)
    pid = lifeline(program["end_main_thread"])
    wait_until(lambda: stat_of(pid).state == "Z")
    os.setuid(NOBODY)
    began = time.monotonic()
    assert buried(2**22 + 1, Children()) == ([], [pid])
    assert time.monotonic() - began < 5, "it is known to be refused"


@in_a_child
def test_one_whose_main_thread_has_ended_is_killed():
    pid = spawn(
        [sys.executable, "-c", f"{END_MAIN_THREAD}\nimport time\nend_main_thread(lambda: time.sleep(60))"], {}, {}
    )
    wait_until(lambda: stat_of(pid).state == "Z")
    assert buried(2**22 + 1, Children()) == ([pid], [])


def hide_other_users() -> None:
    """Have /proc show the caller's user's processes alone, as ProtectProc=invisible of systemd does."""
    libc = ctypes.CDLL(None, use_errno=True)
    new_mounts, private, recursive = 0x20000, 1 << 18, 1 << 14
    done = [
        libc.unshare(new_mounts),
        libc.mount(b"none", b"/", None, private | recursive, None),
        libc.mount(b"proc", b"/proc", b"proc", 0, b"hidepid=2"),
    ]
    if any(done):
        pytest.skip(f"NOT TESTED: a /proc of one's own cannot be had here: {os.strerror(ctypes.get_errno())}")


@in_a_child
def test_another_users_survives_though_proc_hides_it(lifeline, monkeypatch):
    monkeypatch.setattr(_orphans, "_GIVE_UP_REFUSED_AFTER", 0.05)
    pid = lifeline(lambda go_on: go_on())
    hide_other_users()
    os.setgroups([])
    os.setgid(NOBODY)  # group 0 sees all
    os.setuid(NOBODY)
    assert stat_of(pid) is None
    children = Children()
    assert buried(2**22 + 1, children) == ([], [pid])
    assert children.end_all() == {pid: Signalled.REFUSED}


@in_a_child
def test_what_is_left_behind_is_killed_though_nothing_can_be_read_of_it(monkeypatch):
    children, watched, stray = Children(), sleeping(), sleeping()
    children.watch(watched, lambda status: None)
    monkeypatch.setattr(_process, "_read_of", lambda pid, name: b"")  # as when the machine has no descriptor left
    assert buried(2**22 + 1, children) == ([stray], [])
    assert children.present() == [watched]
    os.kill(watched, signal.SIGKILL)
    os.waitpid(watched, 0)


@in_a_child
def test_a_stranger_is_left_alone_though_nothing_can_be_read_of_it(monkeypatch):
    children = Children()
    pid = sleeping(watched_by=children)
    monkeypatch.setattr(_process, "_read_of", lambda pid, name: b"")
    assert buried(pid, children) == ([], [])
    os.kill(pid, signal.SIGTERM)
    assert os.waitpid(pid, 0) == (pid, signal.SIGTERM)


def begin_to_trace(pid: int) -> int:
    """Have it not be gone, once it has been killed, before another process has taken notice; returns that one's id."""
    reader, writer = os.pipe()
    tracer = os.fork()
    if tracer == 0:
        seize = 0x4206
        os.write(writer, str(ctypes.CDLL(None).ptrace(seize, pid, None, None)).encode())
        time.sleep(60)
    if os.read(reader, 9) != b"0":
        pytest.skip("NOT TESTED: a process may not be traced here")
    return tracer


@in_a_child
def test_the_group_of_a_worker_that_sigkill_does_not_end_is_killed():
    children, loop = Children(), EventLoop()
    worker = spawn(["/bin/sh", "-c", "sleep 60 & sleep 60 & wait"], dict(os.environ), {})
    children.watch(worker, lambda status: None)

    def alive() -> list[int]:
        group = [(pid, stat) for pid in all_pids() if (stat := stat_of(pid)) and stat.group == worker]
        return [pid for pid, stat in group if pid != worker and not stat.has_ended]

    wait_until(lambda: len(alive()) == 2)
    children.watch(begin_to_trace(worker), lambda status: None)
    ending = Ending(loop, children, SimpleNamespace(pid=worker), 5.0, lambda reason: None, lambda: "")
    ending.kill("on purpose")
    loop.call_later(LONGEST_MOMENT + 0.1, loop.stop)
    loop.run()
    loop.close()
    wait_until(lambda: not alive(), 5)


@in_a_child
def test_what_survives_is_told_soon_once_somebody_waits_for_the_end_of_all(monkeypatch):
    monkeypatch.setattr(_orphans, "_GIVE_UP_REFUSED_AFTER", 0.05)
    children, stray, told = Children(), sleeping(), []
    tracer = begin_to_trace(stray)
    children.watch(tracer, lambda status: None)
    loop = EventLoop()
    undertaker = Undertaker(loop, children)
    undertaker.bury(2**22 + 1, "a run", lambda killed, survivors: (told.append((killed, survivors)), loop.stop()))
    loop.call_later(0.2, undertaker.give_up_soon)
    began = time.monotonic()
    loop.run()
    loop.close()
    os.kill(tracer, signal.SIGKILL)
    assert told == [([], [stray])], "who is traced is not gone before the tracer has taken notice"
    assert time.monotonic() - began < 5
