"""The stock of workers, with a real template."""

from __future__ import annotations

import select
from collections.abc import Callable

import pytest
from support.forked import in_a_child
from support.processes import is_gone

from ska_oet_device.main import WORKER_ENTRY
from ska_oet_device.mptools import Children, EventLoop, WorkerPool, become_subreaper


@pytest.mark.long
@in_a_child
def test_a_worker_that_is_born_into_a_closed_pool_is_ended():
    become_subreaper()
    loop = EventLoop()
    children = Children()
    children.reap_in(loop)
    pool = WorkerPool(loop, children, WORKER_ENTRY, spares=0)
    given: list[int | None] = []
    pool.take(lambda worker: given.append(worker.pid))  # served when the template is there
    pool.start()
    wait(loop, lambda: bool(given))
    late: list[object] = []
    pool.take(late.append)
    (worker,) = pool._forking
    assert select.select([worker.channel], [], [], 20)[0]  # it is born, and nobody has read of it
    pool.close()
    wait(loop, lambda: worker.ended)
    assert late == []
    assert worker.pid is not None
    assert is_gone(worker.pid)


def wait(loop: EventLoop, condition: Callable[[], bool]) -> None:
    def look() -> None:
        if condition():
            loop.stop()
        else:
            loop.call_later(0.02, look)

    loop.call_later(0.0, look)
    loop.call_later(20.0, loop.stop)
    loop.run()
    loop._stopped = False
    assert condition()
