"""What a worker reaps of that which falls to it, and what it leaves to its script."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from support.forked import in_a_child
from support.waiting import wait_until

from ska_oet_device.mptools import become_subreaper, children_of_main_thread, stat_of
from ska_oet_device.procedure.worker import _strangers as strangers


def child_that_ends() -> int:
    """Fork a child that has ended; returns its id."""
    pid = os.fork()
    if pid == 0:
        os._exit(3)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return pid


def adopted(lead: bool) -> int:
    """Adopt an orphan that has ended, of the session of its parent if that is to `lead` one."""
    reader, writer = os.pipe()
    parent = os.fork()
    if parent == 0:
        if lead:
            os.setsid()
        pid = os.fork()
        if pid:
            os.write(writer, b"%d" % pid)
        os._exit(0)
    os.waitpid(parent, 0)
    pid = int(os.read(reader, 20))
    wait_until(lambda: stat_of(pid).state == "Z" and stat_of(pid).parent == os.getpid())
    return pid


@in_a_child
def test_an_orphan_of_another_session_is_reaped_and_children_are_not():
    become_subreaper()
    own, daemon = child_that_ends(), adopted(lead=True)
    leader = subprocess.Popen([sys.executable, "-c", ""], start_new_session=True)
    wait_until(lambda: stat_of(leader.pid).state == "Z")
    mine = strangers.Strangers()
    for _ in range(3):
        mine.reap()
    assert daemon not in children_of_main_thread()
    assert os.waitpid(own, 0) == (own, 3 << 8)
    assert leader.wait() == 0


@in_a_child
def test_when_there_are_many_the_old_ones_are_reaped_that_no_object_waits_for(monkeypatch):
    monkeypatch.setattr(strangers, "_DOUBTFUL_KEPT", 2)
    become_subreaper()
    orphans = [adopted(lead=False) for _ in range(2)]
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(5)"])
    wait_until(lambda: stat_of(process.pid).state == "Z")
    mine = strangers.Strangers()
    mine.reap()
    young = child_that_ends()
    assert set(children_of_main_thread()) == {*orphans, process.pid, young}
    mine.reap()
    assert children_of_main_thread() == [process.pid, young]
    assert process.wait() == 5
    assert os.waitpid(young, 0) == (young, 3 << 8)


@in_a_child
def test_what_lives_is_left_alone_and_without_children_the_looks_become_rare():
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
    mine = strangers.Strangers()
    mine.reap()
    assert children_of_main_thread() == [pid]
    assert mine.pause == 5
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    mine.reap()
    assert mine.pause == 10
