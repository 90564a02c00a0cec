"""The event loop of a script.  Runs in the main thread of a worker."""

from __future__ import annotations

import sys
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    import contextvars


class ScriptLoop:
    """One asyncio event loop for the life of a script: what `init` opens in it is open in `main`.

    As asyncio.Runner, which Python has from 3.11 on.  It is made when it is needed first, by the policy that the
    script may have set, and asyncio is imported then: it is large, and most scripts do without.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._context: contextvars.Context | None = None

    def run(self, awaitable: Awaitable[Any]) -> Any:
        """Return the result of a coroutine, a future, or whatever else can be awaited.

        Where that raises, or a signal does, the loop is closed before the exception comes out: see `close`.  An
        exception of the clean-up of what was awaited takes the place of the signal's.
        """
        import asyncio

        loop = self._loop_for(awaitable)
        asyncio.set_event_loop(loop)  # asyncio.run, called by the script in between, has taken it away
        awaited = self._scheduled(loop, awaitable)
        try:
            return loop.run_until_complete(awaited)
        except BaseException as error:
            self.close()
            if awaited.done() and not awaited.cancelled():
                failure = awaited.exception()
                if failure is not None and failure is not error:
                    raise failure  # noqa: B904 - the signal stays its context
            raise

    def close(self) -> None:
        """End the loop as asyncio.run does: cancel tasks and await their end, then async generators, then threads.

        Harmless where there is none, or none any more.
        """
        loop, self._loop = self._loop, None
        if loop is None or loop.is_closed():
            return
        import asyncio

        try:
            interrupt = _cancel_tasks(loop)
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            asyncio.set_event_loop(None)
            loop.close()
        if interrupt is not None:
            raise interrupt

    def _loop_for(self, awaitable: Awaitable[Any]) -> asyncio.AbstractEventLoop:
        import asyncio
        import contextvars

        if asyncio.isfuture(awaitable):  # it can be awaited in its own loop alone
            if self._loop is None:
                self._loop = awaitable.get_loop()
            return awaitable.get_loop()
        if self._loop is None or self._loop.is_closed():
            self._loop = asyncio.new_event_loop()
        if self._context is None:
            self._context = contextvars.copy_context()
        return self._loop

    def _scheduled(self, loop: asyncio.AbstractEventLoop, awaitable: Awaitable[Any]) -> asyncio.Future[Any]:
        import asyncio

        if sys.version_info >= (3, 11) and asyncio.iscoroutine(awaitable):
            return loop.create_task(awaitable, context=self._context)  # init's context variables are main's
        return asyncio.ensure_future(awaitable, loop=loop)


def _cancel_tasks(loop: asyncio.AbstractEventLoop) -> BaseException | None:
    """Cancel all tasks, once, and await their end; returns what interrupted that: a signal, or how a task ended."""
    import asyncio

    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    interrupt = None
    while not all(task.done() for task in tasks):
        try:
            loop.run_until_complete(asyncio.wait(tasks))
        except (KeyboardInterrupt, SystemExit) as error:  # it leaves the loop at once; the others still clean up
            interrupt = interrupt or error
    for task in tasks:
        if not task.cancelled() and task.exception() not in (None, interrupt):
            told = {"message": "a task of the script failed while it was cancelled", "task": task}
            loop.call_exception_handler({**told, "exception": task.exception()})
    return interrupt
