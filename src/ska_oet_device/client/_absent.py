"""What the Tango database knows of a device that takes no connection: it has ended in order, never begun, or runs."""

from __future__ import annotations

import queue
import re
import threading
from typing import Final

import tango

from ..inbox import Inbox
from . import _gate
from ._database import look, tango_host
from ._directory import entry_of
from ._errors import UnreachableError

_PREFIX: Final = re.compile(r"tango://[^/]+/", re.IGNORECASE)


def why_absent(device: str, timeout: float) -> str | None:
    """Return in a sentence why a device takes no connection; None if its Tango database does not tell.

    The database is asked by a thread of its own: Tango gives one that hangs three times 3 s, whatever it is told.

    :param device: its Tango name
    :param timeout: seconds for the database
    """
    answers: Inbox[str | None] = Inbox()
    threading.Thread(
        target=lambda: answers.put(_ask(device, timeout)), name="client's look into the Tango database", daemon=True
    ).start()
    try:
        return answers.get(timeout=timeout)
    except queue.Empty:
        return None


def _ask(device: str, timeout: float) -> str | None:
    host = tango_host(device)
    if host is None:
        return None
    try:
        look(device, timeout)
        with _gate.call():
            name, _, port = host.partition(":")
            database = tango.Database(name, int(port)) if _PREFIX.match(device) else tango.Database()
            found = entry_of(database, _PREFIX.sub("", device).partition("#")[0])
    except (tango.DevFailed, UnreachableError):
        return None
    if found.is_exported:
        has = f"the Tango database {host} has it as process {found.pid} on {found.host} since {found.started}"
        return f"{device} does not answer: its server {found.server} takes no connection ({has})"
    knows = f"knows it as ended since {found.stopped or '?'}" if found.started else "has never seen it"
    return f"{device} does not run: its server {found.server} is not started (the Tango database {host} {knows})"
