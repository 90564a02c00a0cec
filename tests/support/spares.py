"""The spare workers of a server, of which one is used and another one born for each look at its health."""

from __future__ import annotations

import time

from .tango_server import Server
from .waiting import wait_until


def spares_at_rest(server: Server) -> list[int]:
    """Return the spares once there are the same ones for a second: behind a look one is born, and the oldest goes."""

    def same() -> list[int]:
        before = sorted(each.pid for each in server.spares())
        time.sleep(1)
        return before if before == sorted(each.pid for each in server.spares()) else []

    return wait_until(same, 60, "the spares stay the same")
