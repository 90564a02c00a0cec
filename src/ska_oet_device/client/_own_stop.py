"""Whom a Stop without an id has stopped: its answer names the abort script alone, and the audit has the other."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ._errors import OetError

if TYPE_CHECKING:
    from ._client import OetClient

_LOOKED_AT = 20  # requests, of which some of others may have come in between
_PATIENCE = 2.0  # seconds: the audit lacks a request whose commit takes more than half a second
_BETWEEN_LOOKS = 0.1  # seconds


def newest_stopped(client: OetClient, aborts: Iterable[int]) -> int | None:
    """Return the id of the procedure that the newest Stop of this process meant; None where it cannot be told.

    :param aborts: the ids of abort scripts that followed, of which the audit has an entry as well
    """
    others, own = {0, *aborts}, f"pid {os.getpid()} "
    deadline = time.monotonic() + _PATIENCE
    try:
        while True:
            for request in client.requests(_LOOKED_AT):
                if request.command == "Stop" and own in f"{request.client} " and request.process_uid not in others:
                    return request.process_uid
            if time.monotonic() >= deadline:
                return None
            time.sleep(_BETWEEN_LOOKS)
    except OetError:  # the Stop is done all the same
        return None
