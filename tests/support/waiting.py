"""Waiting in tests: one way, and it fails loudly."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T | None], seconds: float = 20.0, what: str = "") -> T:
    """Return the first true value of `condition`; AssertionError if there is none within `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        is_last = time.monotonic() > deadline  # whoever is held up between a look and the clock looks once more
        value = condition()
        if value:
            return value
        if is_last:
            raise AssertionError(f"not within {seconds:g} s: {what or condition}; last value {value!r}")
        time.sleep(0.002)
