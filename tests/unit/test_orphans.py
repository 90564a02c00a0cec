"""What is cleaned up behind an ended worker, seen alone; the rest of it is tested with a whole main process."""

from __future__ import annotations

import os
import signal

from support.forked import in_a_child
from support.waiting import wait_until

from ska_oet_device.mptools import Children, EventLoop, spawn, stat_of
from ska_oet_device.procedure.supervision._orphans import Undertaker


@in_a_child
def test_a_stranger_who_was_given_the_id_of_an_ended_worker_is_left_alone_with_its_group():
    children, reaped = Children(), []
    pid = spawn(["/bin/sleep", "60"], dict(os.environ), {})
    children.watch(pid, lambda status: None)
    wait_until(lambda: (stat := stat_of(pid)) and stat.group == pid)
    Undertaker(EventLoop(), children, pid, "a run", lambda start: True, reaped.append).begin()
    assert reaped == [[]]
    os.kill(pid, signal.SIGTERM)
    assert os.waitpid(pid, 0) == (pid, signal.SIGTERM)  # not what it would have died of before
