"""Whether libzmq's threads have sent what was pushed: they sleep when they have."""

from __future__ import annotations

import ctypes
import hashlib
import resource
import threading

from support.waiting import wait_until

from ska_oet_device.procedure.ui._sending import wait_until_sent

PR_SET_NAME = 15  # prctl(2)


def test_it_waits_while_a_thread_of_libzmqs_has_something_to_do_but_for_so_long():
    seen, enough = threading.Event(), threading.Event()

    def works() -> None:
        ctypes.CDLL(None).prctl(PR_SET_NAME, b"ZMQbg/IO/9", 0, 0, 0)
        while not seen.is_set():
            hashlib.pbkdf2_hmac("sha256", b"", b"", 3_000_000)  # a second or so, without the lock of Python
        enough.wait(60)

    thread = threading.Thread(target=works)
    thread.start()
    try:
        wait_until(lambda: wait_until_sent(0.02) is False, what="it is seen at work, and not about to begin or at rest")
        seen.set()
        assert wait_until_sent(60) is True
    finally:
        seen.set()
        enough.set()
        thread.join()


def test_who_has_no_descriptor_left_does_not_wait():
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        assert wait_until_sent(60) is False
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
