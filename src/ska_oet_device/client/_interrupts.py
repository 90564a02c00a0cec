"""Signals as something to wait for: the handlers record, the program acts."""

from __future__ import annotations

import queue
import signal
from types import FrameType, TracebackType
from typing import Any

from ..inbox import Inbox

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(Exception):  # noqa: N818 - it is no error
    """Somebody wants this program to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Interrupts:
    """Records SIGINT, SIGTERM and SIGHUP while it is entered, instead of dying of them.

    `inbox` is the one queue that the main thread waits at: whatever else it waits for is put
    there, too (a SimpleQueue's put may be called in a signal handler).
    """

    def __init__(self) -> None:
        self.inbox: Inbox[Any] = Inbox()
        self.caught = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        self._before = {number: signal.signal(number, self._record) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _record(self, number: int, frame: FrameType | None) -> None:
        if not self.caught:
            self.caught = number
            self.inbox.put(None)

    def check(self) -> None:
        """Raise Interrupted if a signal has come."""
        if self.caught:
            raise Interrupted(self.caught)

    def get(self, seconds: float) -> Any:
        """Return the next item of the inbox.

        :raises Interrupted: a signal has come
        :raises TimeoutError: nothing has come within `seconds`
        """
        self.check()
        try:
            item = self.inbox.get(timeout=max(0.0, seconds))
        except queue.Empty:
            raise TimeoutError(f"nothing within {seconds:g} s") from None
        self.check()
        return item
