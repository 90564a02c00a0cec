"""A procedure, as the synchronous client knows it."""

from __future__ import annotations

from collections.abc import Iterator
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
    from ._client import OetClient


class Procedure:
    """A procedure of a device: a script in a process of its own.  Any thread may use it; raises as OetClient does."""

    def __init__(self, client: OetClient, summary: Summary, since: int | None = None) -> None:
        self._client = client
        self._driver = client._driver
        self._which = Which(summary.id, summary.run_id, summary.script)
        self._since = self._asked = since  # the numbers of lifecycle events before it was made, and asked for
        self._dropped = len(summary.dropped_starts)
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
        return self._driver.finish(steps.progress(self._which))

    def summary(self) -> Summary:
        """Return what is known of it now.

        :raises UnknownProcedure: the device has lost its history
        """
        return self._driver.finish(steps.summary(self._which))

    def start(self, fn: str = "main", *args: Any, **kwargs: Any) -> Procedure:
        """Call a function of the script, as soon as it is READY; does not wait.  Returns this procedure.

        :raises InvalidState: it has ended
        :raises Busy: it is READY, and another procedure has the turn
        """
        asked = to_json(requests.start_data(self.id, fn, Arguments(args, kwargs), self._client.user))
        asked_at = self._client._mark()
        self._dropped = len(Summary.of(self._client._connection.call("Start", asked)).dropped_starts)
        self._asked = asked_at
        return self

    def stop(self, reason: str = "", *, abort: bool | None = None) -> list[Procedure]:
        """End it, whatever it is doing; does not wait.  Returns the abort script's procedure, if there is one.

        :param reason: why; it is kept in the history
        :param abort: whether the device's abort script follows; None: if the device has one
        """
        return self._client._stop(requests.stop_data(self.id, abort, reason, self._client.user))

    def wait(self, *states: ProcedureState | str, timeout: float | None = None) -> Summary:
        """Wait until the procedure is in one of these states; returns the summary of then.

        A state that it is in counts, and one that it enters after this call, however short. Once it has completed each
        state that it has ever been in counts: the summary is that of its end.

        It goes on through restarts of the device server, of the whole server and of the database.  READY is
        reached when all functions that were asked for have returned: `start("observe").wait("READY")` waits for it.

        :param states: names of states; none: COMPLETE
        :param timeout: seconds; None: for ever
        :raises ProcedureFailed: it is FAILED or UNKNOWN; has reason and traceback
        :raises ProcedureStopped: somebody has stopped it
        :raises StartDropped: a start that was asked for ahead of time came to nothing: another procedure had the turn
        :raises NotReached: it is COMPLETE without having been in one of the states
        :raises TimeoutError: none of this has happened in time; says how things stand
        :raises Deadlock: it is the script that waits
        :raises UnknownProcedure: the device has lost its history
        """
        wait = Wait(self.id, states, self._dropped)
        since = self._asked if wait.is_for_the_end else None
        waiting = following.outcome(self._which, wait, timeout, is_told=since is not None)
        return self._driver.finish(waiting, (), timeout, since)

    def events(self, *, timeout: float | None = None) -> Iterator[LifecycleEvent]:
        """Yield its lifecycle events, until it has ended.

        All of them, if this client has prepared it; else those from now on.

        :param timeout: seconds
        :raises TimeoutError: they are over
        """
        return self._driver.iterate(following.events(self._since, self._which), (), timeout)

    def follow_progress(self, *, timeout: float | None = None) -> Iterator[Progress]:
        """Yield what the script reports of itself, first what stands, then as it changes, until it has ended.

        :param timeout: seconds
        :raises TimeoutError: they are over
        """
        return self._driver.iterate(following.progress(self._which), following.PROGRESS, timeout)

    def output(self, *, follow: bool = False, timeout: float | None = None) -> Iterator[str]:
        """Yield what the script and its children have printed, in pieces of whole characters.

        What a procedure that is followed prints comes within some 0.2 s while it is the active one, and all of it
        by its end.  While another procedure is the active one it is asked for whenever the state of this one changes.

        :param follow: whether to go on until it has ended
        :param timeout: seconds
        :raises TimeoutError: they are over
        """
        printed = following.output(self._which, follow=follow)
        return self._driver.iterate(printed, following.OUTPUT if follow else None, timeout)
