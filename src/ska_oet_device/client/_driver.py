"""How the synchronous client takes its steps: each call, and each wait, in the thread of whoever asks."""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Generator
from typing import Any, TypeVar

from ..inbox import Inbox
from ._connection import Connection
from ._errors import ClosedError, OetError
from ._feed import Feed
from ._items import Closed, Item
from ._steps import Ask, Doubt, Give, Read, Step, Steps

T = TypeVar("T")
Listens = tuple[str, ...] | None
"""Attributes of which values are wanted beside the lifecycle events; None: nothing is waited for."""


class Driver:
    """Takes the steps of one client."""

    def __init__(self, connection: Connection, feed: Feed) -> None:
        self.connection = connection
        self.feed = feed

    def finish(
        self, steps: Steps[T], listens: Listens = None, timeout: float | None = None, since: int | None = None
    ) -> T:
        """Take all steps, of which none gives anything, and return what they return."""
        given = self.iterate(steps, listens, timeout, since)
        try:
            while True:
                next(given)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        finally:
            given.close()

    def iterate(
        self, steps: Steps[T], listens: Listens = None, timeout: float | None = None, since: int | None = None
    ) -> Generator[Any, None, T]:
        """Yield what the steps give; what it has begun ends with the generator."""
        deadline = None if timeout is None else time.monotonic() + timeout
        items: Inbox[Item] = Inbox()
        with contextlib.ExitStack() as stack:
            stack.callback(steps.close)
            self.connection.check()
            if listens is not None:
                stack.enter_context(self.feed.listening(items.put, *listens, since=since))
            answer: Any = None
            failure: Exception | None = None
            while True:
                try:
                    step = steps.send(answer) if failure is None else steps.throw(failure)
                except StopIteration as stop:
                    return stop.value  # type: ignore[no-any-return]
                answer = failure = None
                if isinstance(step, Give):
                    yield step.value
                    self.connection.check()
                    continue
                try:
                    answer = self._take(step, items, deadline)
                except (OetError, TimeoutError) as error:
                    failure = error

    def _take(self, step: Step, items: Inbox[Item], deadline: float | None) -> Any:
        if isinstance(step, Ask):
            return self.connection.call(step.command, step.argument, patient=step.patient)
        if isinstance(step, Read):
            read = self.connection.read_timed if step.timed else self.connection.read
            return read(*step.attributes, patient=step.patient)
        if isinstance(step, Doubt):
            return self.feed.doubt()
        try:
            item = items.get(timeout=None if deadline is None else max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise TimeoutError("the time is over") from None
        if isinstance(item, Closed):
            raise ClosedError("this client was closed")
        return item
