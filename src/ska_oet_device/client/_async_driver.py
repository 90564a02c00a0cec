"""How the asynchronous client takes its steps: calls in PyTango's asyncio green mode, waits in the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncGenerator, Callable
from typing import Any, TypeVar

from tango.asyncio_executor import AsyncioExecutor

from ._connection import Connection
from ._driver import Listens
from ._errors import ClosedError, OetError
from ._feed import Feed
from ._items import Closed, Item
from ._steps import Ask, Doubt, Give, Read, Step, Steps

T = TypeVar("T")


class AsyncDriver:
    """Takes the steps of one client, in whatever event loop it is asked."""

    def __init__(self, connection: Connection, feed: Feed) -> None:
        self.connection = connection
        self.feed = feed
        self._executor: AsyncioExecutor | None = None

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call what takes time, as PyTango's asyncio green mode does; a call that is cancelled goes on unheard."""
        self.connection.check()
        loop = asyncio.get_running_loop()
        if self._executor is None or self._executor.loop is not loop:
            self._executor = AsyncioExecutor(loop)
        return await self._executor.delegate(function, *arguments)  # type: ignore[no-any-return]

    async def finish(
        self, steps: Steps[T], listens: Listens = None, timeout: float | None = None, since: int | None = None
    ) -> T:
        """Take all steps, of which none gives anything, and return what they return."""
        returned: list[T] = []
        async for _ in self._iterate(steps, listens, timeout, since, returned.append):
            pass
        return returned[0]

    def iterate(
        self, steps: Steps[None], listens: Listens = None, timeout: float | None = None
    ) -> AsyncGenerator[Any, None]:
        """Yield what the steps give; what it has begun ends with the generator."""
        return self._iterate(steps, listens, timeout, None, lambda _: None)

    async def _iterate(
        self, steps: Steps[T], listens: Listens, timeout: float | None, since: int | None, returns: Callable[[T], None]
    ) -> AsyncGenerator[Any, None]:
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        items: asyncio.Queue[Item] = asyncio.Queue()

        def put(item: Item) -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed: nobody listens any more
                loop.call_soon_threadsafe(items.put_nowait, item)

        with contextlib.ExitStack() as stack:
            stack.callback(steps.close)
            self.connection.check()
            if listens is not None:
                stack.enter_context(self.feed.listening(put, *listens, since=since))
            answer: Any = None
            failure: Exception | None = None
            while True:
                try:
                    step = steps.send(answer) if failure is None else steps.throw(failure)
                except StopIteration as stop:
                    returns(stop.value)
                    return
                answer = failure = None
                if isinstance(step, Give):
                    yield step.value
                    self.connection.check()
                    continue
                try:
                    answer = await self._take(step, items, deadline)
                except (OetError, TimeoutError) as error:
                    failure = error

    async def _take(self, step: Step, items: asyncio.Queue[Item], deadline: float | None) -> Any:
        if isinstance(step, Ask):
            return await self.call(
                functools.partial(self.connection.call, patient=step.patient), step.command, step.argument
            )
        if isinstance(step, Read):
            read = self.connection.read_timed if step.timed else self.connection.read
            return await self.call(functools.partial(read, patient=step.patient), *step.attributes)
        if isinstance(step, Doubt):
            return self.feed.doubt()
        left = None if deadline is None else max(0.0, deadline - asyncio.get_running_loop().time())
        try:
            item = await asyncio.wait_for(items.get(), left)
        except asyncio.TimeoutError:
            raise TimeoutError("the time is over") from None
        if isinstance(item, Closed):
            raise ClosedError("this client was closed")
        return item
