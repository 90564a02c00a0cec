"""The synchronous client: prepares, starts, follows and stops procedures; any number of threads may share one."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from . import _following as following
from . import _requests as requests
from . import _steps as steps
from ._answers import (
    CheckReport,
    Environment,
    Health,
    LifecycleEvent,
    ProcedureState,
    ProgressEvent,
    Request,
    Summary,
)
from ._connection import Connection, make_proxy
from ._device import device_name
from ._driver import Driver
from ._feed import Feed
from ._json import to_json
from ._procedure import Procedure
from ._requests import Arguments, Script

_NONE = Arguments()
TIMEOUT = 3.0  # seconds for an answer of the device


class OetClient:
    """A client of one OetDevice.

    :param device: its Tango name; None: $OET_DEVICE, else the device that executes this script, else the only
        OetDevice of the Tango database
    :param user: who is said to ask, in the device's audit
    :param timeout: seconds within which the device has to answer a command
    :raises NoDevice: the database has no OetDevice, or more than one
    :raises UnreachableError: the Tango database does not answer

    All methods raise UnreachableError if the device does not answer, ForkedError in a process that is a fork of the one
    that made the client, and ClosedError after `close`.
    """

    def __init__(self, device: str | None = None, *, user: str | None = None, timeout: float = TIMEOUT) -> None:
        self.device = device_name(device)
        self.user = user
        self._connection = Connection(self.device, timeout)
        self._feed = Feed(functools.partial(make_proxy, self.device, timeout), self._connection.forget)
        self._driver = Driver(self._connection, self._feed)
        # At the end of the interpreter the feed closes itself, and waits until it is.
        weakref.finalize(self, self._feed.close, waits=False).atexit = False

    def __repr__(self) -> str:
        return f"<OetClient of {self.device}>"

    def __enter__(self) -> OetClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the subscriptions, and all that waits; may be called twice.  The end of the interpreter does it, too."""
        self._connection.close()
        self._feed.close()

    # -- procedures

    def prepare(self, script: Script, /, *init_args: Any, **init_kwargs: Any) -> Procedure:
        """Load a script in a process of its own, and call its `init` with the arguments; does not wait.

        :raises RefusedError: a class of its own for each reason of the contract, such as ScriptNotFound
        :raises ValueError, TypeError: an argument that JSON does not know; names it
        """
        return self._new("Prepare", requests.prepare_data(script, Arguments(init_args, init_kwargs), self.user))

    def run(self, script: Script, /, *args: Any, fn: str = "main", init: Arguments = _NONE, **kwargs: Any) -> Procedure:
        """Prepare a script, and call `fn` with the arguments as soon as it is READY; does not wait.

        :param init: what its `init` is given: `arguments(dwell=2)`
        :raises RefusedError, ValueError, TypeError: as `prepare`
        """
        return self._new("Run", requests.run_data(script, fn, Arguments(args, kwargs), init, self.user))

    def procedure(self, which: int | str) -> Procedure:
        """Return a procedure by its id or its run id, whether it lives, has ended, or is from before a restart.

        :raises UnknownProcedure: there is none
        """
        return Procedure(self, self._driver.finish(steps.by_id(which)))

    def procedures(self) -> list[Procedure]:
        """Return the procedures that live, and the newest that have ended, oldest first."""
        return [Procedure(self, found) for found in self.summaries()]

    def summaries(self) -> list[Summary]:
        """Return what is known now of the procedures that live, and of the newest that have ended, oldest first."""
        return self._driver.finish(steps.summaries("Summarise", []))

    @property
    def active(self) -> Procedure | None:
        """The procedure that is RUNNING, else the one that changed last; None before the first."""
        found = self._driver.finish(steps.active())
        return Procedure(self, found) if found else None

    def summary(self, uid: int) -> Summary:
        """Return what is known of a procedure now.

        :raises UnknownProcedure: there is none
        """
        return self._driver.finish(steps.by_id(uid))

    def stop(self, reason: str = "", *, abort: bool | None = None) -> list[Procedure]:
        """End the procedure that has the turn, else the only one that lives; otherwise as `Procedure.stop`.

        :raises InvalidState: none lives, or it is not clear which one is meant; names them
        """
        return self._stop(requests.stop_data(None, abort, reason, self.user))

    def follow(
        self, *, progress: bool = False, since: int | None = None, timeout: float | None = None
    ) -> Iterator[LifecycleEvent | ProgressEvent]:
        """Yield the lifecycle events of all procedures, each once, in order, without gaps and without end.

        :param progress: whether to yield what the active procedure reports of itself, too
        :param since: the number of an event: those after it, also from before a restart; None: those told from now on
        :param timeout: seconds
        :raises TimeoutError: they are over
        """
        events = following.events(self._mark() if since is None else since, progress=progress)
        return self._driver.iterate(events, following.PROGRESS if progress else (), timeout)

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
    ) -> Iterator[Summary]:
        """Yield summaries from the durable history, newest first; asks for more as they are taken.

        :param since: created at this time or later, in Unix seconds
        :param until: created before this time, in Unix seconds
        :param script: a part of the script's URI
        :param user: a part of the name of who has asked
        :param text: a part of what is known of it, as the contract lists
        :param limit: how many at most; None: all
        """
        asked = requests.given(
            since=since, until=until, script=script, state=state and str(state), user=user, text=text
        )
        return self._driver.iterate(steps.history(asked, limit))

    def requests(self, limit: int | None = None) -> Iterator[Request]:
        """Yield who asked for what, and what was answered, newest first."""
        return self._driver.iterate(steps.audit(limit))

    def check(
        self,
        script: Script,
        /,
        *,
        fn: str | None = None,
        args: Arguments | None = None,
        init: Arguments = _NONE,
        timeout: float | None = None,
    ) -> CheckReport:
        """Have the device find, compile and load a script, of which it calls nothing; waits for the report.

        :param fn: a function that is to be looked at, as `run` would call it
        :param args: its arguments: `arguments(3, band="2")`
        :param init: those of `init`
        :param timeout: seconds for all of it
        :raises TimeoutError: there is no report in time
        :raises RefusedError, ValueError, TypeError: as `prepare`; what is wrong with the script stands in the report
        """
        asked = requests.check_data(script, fn, args, init, self.user)
        return self._driver.finish(following.check(asked, timeout), following.CHECK, timeout)

    def available_scripts(self) -> list[str]:
        """Return the scripts below the device's ScriptRoots, as `run` and `prepare` take them, in alphabetical order.

        At most 1,000: others can be run by their names all the same.
        """
        return self._driver.finish(steps.available_scripts())

    def environments(self) -> list[Environment]:
        """Return the environments that scripts run in."""
        return self._driver.finish(steps.environments())

    def remove_environment(self, env_id: str) -> None:
        """Remove an environment; raises InvalidState while it is in use."""
        self._connection.call("RemoveEnvironment", env_id)

    def schemas(self) -> dict[str, Any]:
        """Return the JSON Schemas of what the device takes and tells."""
        return dict(self._connection.call("Schemas"))

    def health(self) -> Health:
        """Return whether the server can do its job; the device tries, which takes some milliseconds."""
        return self._driver.finish(steps.health())

    # -- for the rest of this package

    def _new(self, command: str, asked: dict[str, Any]) -> Procedure:
        argument = to_json(asked)
        since = self._mark()
        return Procedure(self, Summary.of(self._connection.call(command, argument)), since)

    def _mark(self) -> int:
        """Return the number of a lifecycle event from before now, and see to it that those after it are heard."""
        last = self._feed.last
        if last is None:
            last = int(self._connection.read("lifecycleSequence")[0])
        self._feed.begin(last)
        return last

    def _stop(self, asked: dict[str, Any]) -> list[Procedure]:
        found = self._driver.finish(steps.summaries("Stop", to_json(asked)))
        return [Procedure(self, summary) for summary in found]
