"""What a thread does again and again, and goes on with whatever happens: the top of a thread.

A thread that ends is missed by nobody, and whatever it did is not done any more.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

_log = logging.getLogger(__name__)

_KEEPS_FAILING = 3  # times in a row; less than that is an item that was odd
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 1.0  # seconds after a step that has failed: nobody is to fail all the time

_duties: weakref.WeakSet[Duty] = weakref.WeakSet()


class Duty:
    """One duty of one thread.

    :param what: what is done, as the end of "cannot ...": "push the events of mid-oet/subarray/01"
    :param tags: what the log is told beside: `logs.about` a device
    """

    def __init__(self, what: str, tags: Mapping[str, Any] | None = None) -> None:
        self._what = what
        self._tags = tags
        self._failures = 0
        self._problem = ""
        _duties.add(self)

    def attempt(self, step: Callable[[], object]) -> bool:
        """Take one step; False, a line in the log, and a pause that grows, if it raises."""
        try:
            step()
        except Exception as error:  # top of a thread: the next step may succeed
            self._has_failed(error)
            return False
        if self._failures >= _KEEPS_FAILING:
            _log.warning("this server can %s again", self._what, extra=self._tags)
        self._failures, self._problem = 0, ""
        return True

    def _has_failed(self, error: Exception) -> None:
        self._failures += 1
        if self._failures <= _KEEPS_FAILING:
            _log.error("this server cannot %s", self._what, exc_info=error, extra=self._tags)
        if self._failures >= _KEEPS_FAILING:
            self._problem = f"This server cannot {self._what}: {type(error).__name__}: {error}."
        time.sleep(min(_FIRST_PAUSE * 2 ** min(self._failures, 10), _LONGEST_PAUSE))

    @property
    def problem(self) -> str:
        """What keeps failing, and why, in a sentence; empty if nothing does."""
        return self._problem


@contextlib.contextmanager
def repeated(duty: Duty, step: Callable[[], object], seconds: float, thread: str) -> Iterator[None]:
    """Take a step again and again, so many seconds apart, in a thread of that name, for as long as the block lasts."""
    is_over = threading.Event()

    def run() -> None:
        while not is_over.wait(seconds):
            duty.attempt(step)

    worker = threading.Thread(target=run, name=thread, daemon=True)
    worker.start()
    try:
        yield
    finally:
        is_over.set()
        worker.join()


def neglected() -> tuple[str, ...]:
    """Return what keeps failing in this process, a sentence each.  Any thread."""
    return tuple(sorted({duty.problem for duty in list(_duties) if duty.problem}))
