"""What a shell offers when Tab is pressed: procedures, scripts and devices; nothing if they cannot be had at once."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from ..client import OetClient

Item = tuple[str, str]
"""What is offered, and what is said of it."""

_PATIENCE = 0.5  # seconds for the database and the device, once Tango is loaded; then nothing is offered
_TERMINAL = ("COMPLETE", "STOPPED", "FAILED", "UNKNOWN")


def ids(ctx: typer.Context, incomplete: str) -> list[Item]:
    """Return the procedures that live, and the newest that have ended: of each its id, and script and state."""
    return _in_time(lambda: _procedures(_client(ctx), incomplete, living=False))


def living_ids(ctx: typer.Context, incomplete: str) -> list[Item]:
    """Return the procedures that live."""
    return _in_time(lambda: _procedures(_client(ctx), incomplete, living=True))


def scripts(ctx: typer.Context, incomplete: str) -> list[Item]:
    """Return the scripts below the device's ScriptRoots.

    What looks like a path is left to the shell, which completes names of files where nothing is offered.
    """
    if incomplete.startswith(("/", ".", "~")) or "://" in incomplete:
        return []
    return _in_time(lambda: [(name, "") for name in _client(ctx).available_scripts() if _fits(name, incomplete)])


def devices(incomplete: str) -> list[Item]:
    """Return the OetDevices of the Tango database."""

    def find() -> list[Item]:
        from ..client import devices as known

        return [(name, "") for name in known() if name.startswith(incomplete)]

    return _in_time(find)


def states(incomplete: str) -> list[Item]:
    """Return the states of a procedure."""
    names = ("CREATING", "IDLE", "PREP_ENV", "LOADING", "INITIALISING", "READY", "RUNNING", *_TERMINAL)
    return [(name, "") for name in names if name.startswith(incomplete.upper())]


def _in_time(look: Callable[[], list[Item]]) -> list[Item]:
    """Return what is found; nothing if it takes too long, or fails: a message would stand in what somebody types."""
    found: list[Item] = []
    from .. import client  # noqa: F401 - Tango takes its time, which is not that of somebody who does not answer

    def find() -> None:
        try:
            found.extend(look())
        except Exception:  # whatever it was, there is nothing to offer
            pass

    thread = threading.Thread(target=find, daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    return list(found)


def _procedures(client: OetClient, incomplete: str, *, living: bool) -> list[Item]:
    return [
        (str(each.id), _plain(f"{each.script.rpartition('/')[2]} {each.state}"))
        for each in reversed(client.summaries())
        if str(each.id).startswith(incomplete) and not (living and each.state in _TERMINAL)
    ]


def _client(ctx: typer.Context) -> OetClient:
    """Return a client of the device that is meant: the option may stand before the command, or behind it."""
    from ..client import OetClient

    levels = [ctx, ctx.parent] if ctx.parent else [ctx]
    return OetClient(next((str(level.params["device"]) for level in levels if level.params.get("device")), None))


def _fits(name: str, incomplete: str) -> bool:
    return name.startswith(incomplete) and name.isprintable()


def _plain(text: str) -> str:
    """Return a text without anything that a shell could take for more than a text."""
    return re.sub(r"[^\w .,+=/@%-]", "?", text)
