"""What the `oet` command needs of a client beyond its public methods, in one place."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

from ..client import (
    Arguments,
    LifecycleEvent,
    OetClient,
    Procedure,
    RefusedError,
    Summary,
    UnreachableError,
    newest_stopped,
)

_PATIENCE = 10.0  # seconds until the device's events are subscribed to: Tango may need some in a large system
PAGE = 256 * 1024  # bytes of output a call


def start_any(client: OetClient, fn: str, run: Arguments) -> Summary:
    """Start the procedure that the device means where none is named: the newest that is READY, or will be."""
    asked = {"fn_name": fn, "run_args": run.as_data(fn), "force_start": True, **_user(client)}
    return Summary.of(client._connection.call("Start", _json(asked)))


def stop_any(client: OetClient, reason: str, abort: bool | None) -> tuple[int | None, list[Summary]]:
    """Stop the procedure that the device means where none is named; returns its id, and the abort script's summary."""
    aborts = [each.summary() for each in client.stop(reason, abort=abort)]
    return newest_stopped(client, [each.id for each in aborts]), aborts


def stop(client: OetClient, procedure: Procedure, reason: str, abort: bool | None) -> list[Summary]:
    """Stop a procedure; returns the abort script's summary, if there is one."""
    return [each.summary() for each in procedure.stop(reason, abort=abort)]


def newest_sequence(client: OetClient) -> int:
    """Return the number of the newest lifecycle event.

    :raises RefusedError: the device has none: it is of another class
    """
    newest = client._connection.read("lifecycleSequence")[0]
    if newest is None:
        raise RefusedError("Attribute lifecycleSequence not found", "API_AttrNotFound")
    return int(newest)


def events_after(client: OetClient, sequence: int) -> Iterator[LifecycleEvent]:
    """Yield the lifecycle events that came after the one with this number."""
    while True:
        page = client._connection.call("LifecycleEvents", sequence)
        if not page:
            return
        yield from map(LifecycleEvent.of, page)
        sequence = page[-1]["sequence"]


def page_of_output(client: OetClient, uid: int, offset: int) -> dict[str, Any]:
    """Return a page of what a procedure has printed, as the contract has it."""
    page: dict[str, Any] = client._connection.call(
        "Output", _json({"process_uid": uid, "offset": offset, "limit": PAGE})
    )
    return page


@contextlib.contextmanager
def listening(client: OetClient, put: Callable[[Any], None], *attributes: str) -> Iterator[None]:
    """Have `put` called with lifecycle events, and with values of attributes, in a thread of the client's.

    What is pushed after this has begun arrives.

    :raises UnreachableError: the device does not answer
    """
    newest_sequence(client)  # says at once why it cannot be reached
    with client._feed.listening(put, *attributes):
        if not client._feed.wait_until_up(_PATIENCE):
            raise UnreachableError(f"the events of {client.device} cannot be subscribed to")
        yield


def value_of(item: Any) -> tuple[str, Any] | None:
    """Return name and value of an attribute that was pushed; None if it is something else."""
    name = getattr(item, "attribute", None)
    return None if name is None else (name, item.value)


def has_been_away(item: Any) -> bool:
    """Say whether the device can be reached again, and what was known of it may be out of date."""
    return type(item).__name__ == "Reconnected"


def _user(client: OetClient) -> dict[str, str]:
    return {} if client.user is None else {"user": client.user}


def _json(data: Any) -> str:
    return json.dumps(data, allow_nan=False)
