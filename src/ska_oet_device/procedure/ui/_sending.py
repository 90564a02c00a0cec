"""Whether what Tango has pushed has left this process: it must have before the process ends."""

from __future__ import annotations

import os
import time
from pathlib import Path

from ...mptools import stat_of

_THREADS = Path("/proc/self/task")
_NAME = "ZMQbg/"  # what libzmq names its threads after
_LOOKS = 2  # in a row that find them asleep
_PAUSE = 0.002  # seconds between two looks


def wait_until_sent(seconds: float) -> bool:
    """Wait until libzmq has given the kernel what was pushed before.

    :return: False if it has not within so many seconds, or that cannot be told, since descriptors have run short

    A push returns when the message is in a queue of libzmq, of which a thread sends, and Tango closes its sockets
    without waiting for that (ZMQ_LINGER 0: ZmqEventSupplier of cppTango, zmqeventsupplier.cpp).  A push has woken that
    thread before it returns, so when it sleeps it has done what it can; what is left then waits for a subscriber that
    does not read.  Any thread.
    """
    deadline = time.monotonic() + seconds
    asleep = 0
    while asleep < _LOOKS:
        if time.monotonic() > deadline:
            return False
        try:
            asleep = asleep + 1 if all(map(_sleeps, os.listdir(_THREADS))) else 0
        except OSError:
            return False
        time.sleep(_PAUSE)
    return True


def _sleeps(thread: str) -> bool:
    """Say whether a thread is none of libzmq's, or sleeps."""
    try:
        if not (_THREADS / thread / "comm").read_text().startswith(_NAME):
            return True
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return True
    stat = stat_of(int(thread))
    return stat is None or stat.state == "S"
