"""The client for asyncio: the vocabulary of OetClient, with await and async for."""

from __future__ import annotations

import functools
import weakref
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any

from . import _following as following
from . import _requests as requests
from . import _steps as steps
from ._answers import CheckReport, Environment, Health, LifecycleEvent, ProcedureState, ProgressEvent, Request, Summary
from ._async_driver import AsyncDriver
from ._async_procedure import AsyncProcedure
from ._client import TIMEOUT
from ._connection import Connection, make_proxy
from ._device import device_name
from ._feed import Feed
from ._json import to_json
from ._requests import Arguments, Script

_NONE = Arguments()


class AsyncOetClient:
    """A client of one OetDevice for asyncio: what OetClient does, with await and async for.

    It may be used in several event loops one after the other.  Making it may ask the Tango database, as for OetClient.

    :param device: its Tango name, or None: as for OetClient
    :param user: who is said to ask, in the device's audit
    :param timeout: seconds within which the device has to answer a command
    :raises NoDevice, UnreachableError: as OetClient, as do all methods
    """

    def __init__(self, device: str | None = None, *, user: str | None = None, timeout: float = TIMEOUT) -> None:
        self.device = device_name(device)
        self.user = user
        self._connection = Connection(self.device, timeout)
        self._feed = Feed(functools.partial(make_proxy, self.device, timeout), self._connection.forget)
        self._driver = AsyncDriver(self._connection, self._feed)
        weakref.finalize(self, self._feed.close, waits=False).atexit = False

    def __repr__(self) -> str:
        return f"<AsyncOetClient of {self.device}>"

    async def __aenter__(self) -> AsyncOetClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the subscriptions, and all that waits; may be called twice."""
        if not self._connection.is_closed:
            await self._driver.call(self._feed.close)
            self._connection.close()

    # -- procedures

    async def prepare(self, script: Script, /, *init_args: Any, **init_kwargs: Any) -> AsyncProcedure:
        """Load a script, as `OetClient.prepare`."""
        return await self._new("Prepare", requests.prepare_data(script, Arguments(init_args, init_kwargs), self.user))

    async def run(
        self, script: Script, /, *args: Any, fn: str = "main", init: Arguments = _NONE, **kwargs: Any
    ) -> AsyncProcedure:
        """Prepare a script, and call `fn` as soon as it is READY, as `OetClient.run`."""
        return await self._new("Run", requests.run_data(script, fn, Arguments(args, kwargs), init, self.user))

    async def procedure(self, which: int | str) -> AsyncProcedure:
        """Return a procedure by its id or its run id; raises UnknownProcedure."""
        return AsyncProcedure(self, await self._driver.finish(steps.by_id(which)))

    async def procedures(self) -> list[AsyncProcedure]:
        """Return the procedures that live, and the newest that have ended, oldest first."""
        return [AsyncProcedure(self, found) for found in await self.summaries()]

    async def summaries(self) -> list[Summary]:
        """Return what is known now of the procedures that live, and of the newest that have ended, oldest first."""
        return await self._driver.finish(steps.summaries("Summarise", []))

    async def active(self) -> AsyncProcedure | None:
        """Return the procedure that is RUNNING, else the one that changed last; None before the first."""
        found = await self._driver.finish(steps.active())
        return AsyncProcedure(self, found) if found else None

    async def summary(self, uid: int) -> Summary:
        """Return what is known of a procedure now; raises UnknownProcedure."""
        return await self._driver.finish(steps.by_id(uid))

    async def stop(self, reason: str = "", *, abort: bool | None = None) -> list[AsyncProcedure]:
        """End the procedure that has the turn, else the only one that lives, as `OetClient.stop`."""
        return await self._stop(requests.stop_data(None, abort, reason, self.user))

    async def follow(
        self, *, progress: bool = False, since: int | None = None, timeout: float | None = None
    ) -> AsyncIterator[LifecycleEvent | ProgressEvent]:
        """Yield the lifecycle events of all procedures, as `OetClient.follow`, from the first step on."""
        events = following.events(await self._mark() if since is None else since, progress=progress)
        async for event in self._driver.iterate(events, following.PROGRESS if progress else (), timeout):
            yield event

    # -- what was, and what there is

    def history(
        self,
        *,
        since: float | None = None,
        until: float | None = None,
        script: str | None = None,
        state: ProcedureState | str | None = None,
        user: str | None = None,
        text: str | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[Summary]:
        """Yield summaries from the durable history, newest first, as `OetClient.history`."""
        asked = requests.given(
            since=since, until=until, script=script, state=state and str(state), user=user, text=text
        )
        return self._driver.iterate(steps.history(asked, limit))

    def requests(self, limit: int | None = None) -> AsyncIterator[Request]:
        """Yield who asked for what, and what was answered, newest first."""
        return self._driver.iterate(steps.audit(limit))

    async def check(
        self,
        script: Script,
        /,
        *,
        fn: str | None = None,
        args: Arguments | None = None,
        init: Arguments = _NONE,
        timeout: float | None = None,
    ) -> CheckReport:
        """Have the device find, compile and load a script, and wait for the report, as `OetClient.check`."""
        asked = requests.check_data(script, fn, args, init, self.user)
        return await self._driver.finish(following.check(asked, timeout), following.CHECK, timeout)

    async def available_scripts(self) -> list[str]:
        """Return the scripts below the device's ScriptRoots, as `OetClient.available_scripts`."""
        return await self._driver.finish(steps.available_scripts())

    async def environments(self) -> list[Environment]:
        """Return the environments that scripts run in."""
        return await self._driver.finish(steps.environments())

    async def remove_environment(self, env_id: str) -> None:
        """Remove an environment; raises InvalidState while it is in use."""
        await self._driver.call(self._connection.call, "RemoveEnvironment", env_id)

    async def schemas(self) -> dict[str, Any]:
        """Return the JSON Schemas of what the device takes and tells."""
        return dict(await self._driver.call(self._connection.call, "Schemas"))

    async def health(self) -> Health:
        """Return whether the server can do its job."""
        return await self._driver.finish(steps.health())

    # -- for the rest of this package

    async def _new(self, command: str, asked: dict[str, Any]) -> AsyncProcedure:
        argument = to_json(asked)
        since = await self._mark()
        return AsyncProcedure(
            self, Summary.of(await self._driver.call(self._connection.call, command, argument)), since
        )

    async def _mark(self) -> int:
        """Return the number of a lifecycle event from before now, and see to it that those after it are heard."""
        last = self._feed.last
        if last is None:
            last = int((await self._driver.call(self._connection.read, "lifecycleSequence"))[0])
        self._feed.begin(last)
        return last

    async def _stop(self, asked: dict[str, Any]) -> list[AsyncProcedure]:
        found = await self._driver.finish(steps.summaries("Stop", to_json(asked)))
        return [AsyncProcedure(self, summary) for summary in found]
