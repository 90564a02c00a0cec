"""The queue at which a client's program waits: as any queue, but that no signal is overlooked."""

import os
import queue
import signal
import threading
import time

import pytest
from support.forked import in_a_child

from ska_oet_device.inbox import Inbox

_LATE = 60  # seconds: what would end a wait that overlooks its signal


@pytest.mark.parametrize("timeout", [None, 600])
@in_a_child
def test_a_signal_that_does_not_end_the_wait_is_handled_soon(timeout):
    """As one that comes right before the wait: here the system gives it to another thread."""
    inbox = Inbox()
    signal.signal(signal.SIGINT, lambda *_: inbox.put("handled"))

    def interrupt():
        time.sleep(0.2)  # so that the main thread waits; if it does not, this test finds less
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        time.sleep(_LATE)
        inbox.put("overlooked")

    threading.Thread(target=interrupt, daemon=True).start()
    assert inbox.get(timeout=timeout) == "handled"


@in_a_child
def test_what_a_handler_raises_ends_the_wait():
    inbox = Inbox()
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def wait():
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        inbox.get()

    with pytest.raises(KeyboardInterrupt):
        wait()


def test_what_is_there_is_taken_at_once():
    inbox = Inbox()
    for item in range(3):
        inbox.put(item)
    assert [inbox.get(timeout=0), inbox.get(block=False), inbox.get()] == [0, 1, 2]


@pytest.mark.parametrize("how", [{"timeout": 0}, {"timeout": 0.7}, {"block": False}, {"block": False, "timeout": 600}])
def test_nothing_within_the_time_is_told(how):
    with pytest.raises(queue.Empty):
        Inbox().get(**how)


@pytest.mark.parametrize("timeout", [None, 600])
def test_what_comes_late_is_waited_for(timeout):
    inbox = Inbox()
    threading.Timer(1.2, inbox.put, ("late",)).start()
    assert inbox.get(timeout=timeout) == "late"
