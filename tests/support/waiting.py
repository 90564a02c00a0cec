"""Waiting in tests: one way, and it fails loudly."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

CONNECTION = 0.05
"""Seconds in which Tango makes the connection of a subscription; nothing says when it is made.

What is pushed at once behind a subscription may reach nobody (the contract, lifecycle events, 6): of a hundred values
one was lost at a load of 9, of those pushed 20 ms later none.  A first connection to a server takes longest.
"""


def wait_until(condition: Callable[[], T | None], seconds: float = 20.0, what: str = "") -> T:
    """Return the first true value of `condition`; AssertionError if there is none within `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what or condition}; last value {value!r}")
        time.sleep(0.002)
