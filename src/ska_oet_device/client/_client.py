"""The synchronous client: prepares, starts, follows and stops procedures; any number of threads may share one."""

from __future__ import annotations

import contextlib
import functools
import json
import queue
import time
import weakref
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from . import _requests as requests
from ._answers import LifecycleEvent, ProcedureState, Progress, Request, Summary
from ._connection import Connection, make_proxy
from ._device import device_name
from ._errors import UnknownProcedure, UnreachableError
from ._feed import Feed, Item, Reconnected
from ._requests import Arguments, Script
from ._watch import Wait

_NONE = Arguments()
TIMEOUT = 3.0  # seconds for an answer of the device
_PAGE = 256 * 1024  # bytes of output a call


class OetClient:
    """A client of one OetDevice.

    :param device: its Tango name; None: $OET_DEVICE, else the device that executes this script, else the only
        OetDevice of the Tango database
    :param user: who is said to ask, in the device's audit
    :param timeout: seconds within which the device has to answer a command
    :raises NoDevice: the database has no OetDevice, or more than one
    :raises UnreachableError: the Tango database does not answer
    """

    def __init__(self, device: str | None = None, *, user: str | None = None, timeout: float = TIMEOUT) -> None:
        self.device = device_name(device)
        self.user = user
        self._connection = Connection(self.device, timeout)
        self._feed = Feed(functools.partial(make_proxy, self.device, timeout))
        self._finalizer = weakref.finalize(self, self._feed.close)

    def __repr__(self) -> str:
        return f"<OetClient of {self.device}>"

    def __enter__(self) -> OetClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the subscriptions; may be called twice.  The end of the interpreter does it, too."""
        self._finalizer()

    # -- procedures

    def prepare(self, script: Script, /, *init_args: Any, **init_kwargs: Any) -> Procedure:
        """Load a script in a process of its own, and call its `init` with the arguments; does not wait.

        :raises RefusedError: a class of its own for each reason of the contract, such as ScriptNotFound
        :raises UnreachableError: the device does not answer
        """
        asked = requests.prepare_data(script, Arguments(init_args, init_kwargs), self.user)
        return self._new("Prepare", asked)

    def run(self, script: Script, /, *args: Any, fn: str = "main", init: Arguments = _NONE, **kwargs: Any) -> Procedure:
        """Prepare a script, and call `fn` with the arguments as soon as it is READY; does not wait.

        :param init: what its `init` is given: `arguments(dwell=2)`
        :raises RefusedError, UnreachableError: as `prepare`
        """
        return self._new("Run", requests.run_data(script, fn, Arguments(args, kwargs), init, self.user))

    def procedure(self, which: int | str) -> Procedure:
        """Return a procedure by its id or its run id, whether it lives, has ended, or is from before a restart.

        :raises UnknownProcedure: there is none
        """
        if isinstance(which, int):
            return Procedure(self, self.summary(which))
        found = self._call("History", requests.to_json({"run_id": which}))
        if not found:
            raise UnknownProcedure(f"there is no procedure with the run id {which!r}", "OET_UnknownProcedure")
        return Procedure(self, Summary.of(found[0]))

    def procedures(self) -> list[Procedure]:
        """Return the procedures that live, and the newest that have ended, oldest first."""
        return [Procedure(self, Summary.of(data)) for data in self._call("Summarise", [])]

    def summary(self, uid: int) -> Summary:
        """Return what is known of a procedure now.

        :raises UnknownProcedure: there is none
        """
        return Summary.of(self._call("Summarise", [uid])[0])

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
    ) -> Iterator[Summary]:
        """Yield summaries from the durable history, newest first; asks for more as they are taken.

        :param since, until: Unix seconds
        :param limit: how many at most; None: all
        """
        asked = requests.given(
            since=since, until=until, script=script, state=state and str(state), user=user, text=text
        )
        yield from map(Summary.of, self._paged("History", asked, "id", limit))

    def requests(self, limit: int | None = None) -> Iterator[Request]:
        """Yield who asked for what, and what was answered, newest first."""
        for data in self._paged("Requests", {}, "number", limit):
            yield Request(**data)

    def follow(self) -> Iterator[LifecycleEvent]:
        """Yield the lifecycle events of all procedures, from now on, without end."""
        with self._items() as items:
            while True:
                item = items.get()
                if isinstance(item, LifecycleEvent):
                    yield item

    # -- for the rest of this package

    def _new(self, command: str, asked: dict[str, Any]) -> Procedure:
        self._feed.begin()
        return Procedure(self, Summary.of(self._call(command, requests.to_json(asked))))

    def _call(self, command: str, argument: Any = None) -> Any:
        return self._connection.call(command, argument)

    def _paged(self, command: str, asked: dict[str, Any], key: str, limit: int | None) -> Iterator[dict[str, Any]]:
        before, left = 0, limit
        while left is None or left > 0:
            page_length = 100 if left is None else min(left, 100)
            page = self._call(command, requests.to_json({**asked, "before": before, "limit": page_length}))
            if not page:
                return
            yield from page
            before = page[-1][key]
            left = None if left is None else left - len(page)

    @contextlib.contextmanager
    def _items(self, *attributes: str) -> Iterator[queue.SimpleQueue[Item]]:
        items: queue.SimpleQueue[Item] = queue.SimpleQueue()
        with self._feed.listening(items.put, *attributes):
            yield items


class Procedure:
    """A procedure of a device: a script in a process of its own."""

    def __init__(self, client: OetClient, summary: Summary) -> None:
        self._client = client
        self.id = summary.id
        self.run_id = summary.run_id
        self.script = summary.script

    def __repr__(self) -> str:
        return f"<Procedure {self.id} ({self.script}) of {self._client.device}>"

    @property
    def state(self) -> ProcedureState:
        """Its state now, as the device says."""
        return self.summary().state

    @property
    def progress(self) -> Progress:
        """What the script reports of itself now; nothing if another procedure is the active one."""
        active, percent, activity = self._client._connection.read(
            "activeProcedureId", "activeProgress", "activeActivity"
        )
        return Progress(percent, activity or "") if active == self.id else Progress(None, "")

    def summary(self) -> Summary:
        """Return what is known of it now."""
        return self._client.summary(self.id)

    def start(self, fn: str = "main", *args: Any, **kwargs: Any) -> Procedure:
        """Call a function of the script, as soon as it is READY; does not wait.  Returns this procedure.

        :raises InvalidState: it has ended
        :raises Busy: it is READY, and another procedure has the turn
        """
        asked = requests.start_data(self.id, fn, Arguments(args, kwargs), self._client.user)
        self._client._feed.begin()
        self._client._call("Start", requests.to_json(asked))
        return self

    def stop(self, reason: str = "", *, abort: bool | None = None) -> list[Procedure]:
        """End it, whatever it is doing; does not wait.  Returns the abort script's procedure, if there is one.

        :param reason: why; it is kept in the history
        :param abort: whether the device's abort script follows; None: if the device has one
        """
        asked = requests.stop_data(self.id, abort, reason, self._client.user)
        answer = self._client._call("Stop", requests.to_json(asked))
        return [Procedure(self._client, Summary.of(data)) for data in answer]

    def wait(self, *states: ProcedureState | str, timeout: float | None = None) -> Summary:
        """Wait until the procedure is in one of these states, or has been since this call; returns the summary.

        :param states: names of states; none: COMPLETE
        :param timeout: seconds; None: for ever, also across restarts of the server and the database
        :raises ProcedureFailed: it is FAILED or UNKNOWN; has reason and traceback
        :raises ProcedureStopped: somebody has stopped it
        :raises StartDropped: a start that was asked for ahead of time came to nothing
        :raises NotReached: it is COMPLETE without having been in one of the states
        :raises TimeoutError: none of this has happened in time; says how things stand
        """
        wait = Wait(self.id, states)
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._client._items() as items:
            summary = self._look()
            while not (summary and wait.is_over_by(summary)):
                try:
                    item = items.get(timeout=None if deadline is None else max(0.0, deadline - time.monotonic()))
                except queue.Empty:
                    state = summary.state if summary else "unknown, since the device does not answer"
                    raise TimeoutError(f"procedure {self.id} ({self.script}) is {state} after {timeout:g} s") from None
                if isinstance(item, Reconnected):
                    summary = self._look()
                elif isinstance(item, LifecycleEvent) and wait.is_over(item):
                    return wait.outcome(self.summary(), item)
            return wait.outcome(summary)

    def events(self) -> Iterator[LifecycleEvent]:
        """Yield its lifecycle events from now on, until it has ended."""
        with self._client._items() as items:
            if self.state.is_terminal:
                return
            while True:
                item = items.get()
                if isinstance(item, LifecycleEvent) and item.process_uid == self.id:
                    yield item
                    if item.state.is_terminal:
                        return

    def output(self, *, follow: bool = False) -> Iterator[str]:
        """Yield what the script and its children have printed, in pieces.

        :param follow: whether to go on until it has ended
        """
        offset = 0
        with self._client._items(*(["scriptOutput"] if follow else [])) as items:
            while True:
                asked = {"process_uid": self.id, "offset": offset, "limit": _PAGE}
                page = self._client._call("Output", json.dumps(asked))
                offset = page["next_offset"]
                if page["text"]:
                    yield page["text"]
                elif page["complete"] or not follow:
                    return
                else:
                    items.get()

    def _look(self) -> Summary | None:
        try:
            return self.summary()
        except UnreachableError:
            return None  # the feed says when it can be reached again
