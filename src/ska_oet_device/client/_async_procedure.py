"""A procedure, as the client for asyncio knows it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from . import _following as following
from . import _requests as requests
from . import _steps as steps
from ._answers import LifecycleEvent, ProcedureState, Progress, Summary
from ._json import to_json
from ._requests import Arguments
from ._steps import Which
from ._watch import Wait

if TYPE_CHECKING:
    from ._async_client import AsyncOetClient


class AsyncProcedure:
    """A procedure of a device: what Procedure does, with await and async for."""

    def __init__(self, client: AsyncOetClient, summary: Summary, since: int | None = None) -> None:
        self._client = client
        self._driver = client._driver
        self._which = Which(summary.id, summary.run_id, summary.script)
        self._since = self._asked = since  # the numbers of lifecycle events before it was made, and asked for
        self._dropped = len(summary.dropped_starts)
        self.id = summary.id
        self.run_id = summary.run_id
        self.script = summary.script

    def __repr__(self) -> str:
        return f"<AsyncProcedure {self.id} ({self.script}) of {self._client.device}>"

    async def state(self) -> ProcedureState:
        """Return its state now, as the device says."""
        return (await self.summary()).state

    async def progress(self) -> Progress:
        """Return what the script reports of itself now; nothing if another procedure is the active one."""
        return await self._driver.finish(steps.progress(self._which))

    async def summary(self) -> Summary:
        """Return what is known of it now; raises UnknownProcedure if the device has lost its history."""
        return await self._driver.finish(steps.summary(self._which))

    async def start(self, fn: str = "main", *args: Any, **kwargs: Any) -> AsyncProcedure:
        """Call a function of the script, as soon as it is READY, as `Procedure.start`."""
        asked = to_json(requests.start_data(self.id, fn, Arguments(args, kwargs), self._client.user))
        asked_at = await self._client._mark()
        answer = await self._driver.call(self._client._connection.call, "Start", asked)
        self._dropped, self._asked = len(Summary.of(answer).dropped_starts), asked_at
        return self

    async def stop(self, reason: str = "", *, abort: bool | None = None) -> list[AsyncProcedure]:
        """End it, whatever it is doing, as `Procedure.stop`."""
        return await self._client._stop(requests.stop_data(self.id, abort, reason, self._client.user))

    async def wait(self, *states: ProcedureState | str, timeout: float | None = None) -> Summary:
        """Wait for states of it, none: for COMPLETE, as `Procedure.wait`, also across restarts."""
        wait = Wait(self.id, states, self._dropped)
        since = self._asked if wait.is_for_the_end else None
        waiting = following.outcome(self._which, wait, timeout, is_told=since is not None)
        return await self._driver.finish(waiting, (), timeout, since)

    def events(self, *, timeout: float | None = None) -> AsyncIterator[LifecycleEvent]:
        """Yield its lifecycle events, until it has ended, as `Procedure.events`."""
        return self._driver.iterate(following.events(self._since, self._which), (), timeout)

    def follow_progress(self, *, timeout: float | None = None) -> AsyncIterator[Progress]:
        """Yield what the script reports of itself, until it has ended, as `Procedure.follow_progress`."""
        return self._driver.iterate(following.progress(self._which), following.PROGRESS, timeout)

    def output(self, *, follow: bool = False, timeout: float | None = None) -> AsyncIterator[str]:
        """Yield what the script and its children have printed, as `Procedure.output`."""
        printed = following.output(self._which, follow=follow)
        return self._driver.iterate(printed, following.OUTPUT if follow else None, timeout)
