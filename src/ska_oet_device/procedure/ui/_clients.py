"""Who asks: a Tango client's identity, as a person reads it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

_KNOWN_FOR = 5.0  # seconds; no process id is given again so soon
_MOST_KNOWN = 1000


class ClientNames:
    """Names clients, such as ``python pid 4711 on host ws1``, and knows for a while what it has found out.

    Called in the threads of commands; two that find out the same thing at the same time do no harm.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], tuple[float, str]] = {}

    def name_of(self, ident: Any) -> str:
        """Return the name of a client, from its identity as Tango has it; empty if there is none."""
        if ident is None or not ident.client_ident:
            return ""
        key = (ident.client_ip, ident.client_pid, ident.client_lang)
        found_at, name = self._known.get(key, (0.0, ""))
        now = time.monotonic()
        if not name or now - found_at > _KNOWN_FOR:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            name = _name(ident.client_ip, ident.client_pid, str(ident.client_lang).lower())
            self._known[key] = (now, name)
        return name


def _name(host: str, pid: int, program: str) -> str:
    if host.startswith("giop:tcp:"):
        host = host[len("giop:tcp:") :].rsplit(":", 1)[0].strip("[]")
    local = host.startswith("giop:unix") or host in ("127.0.0.1", "::1", "::ffff:127.0.0.1")
    if local:
        host = os.uname().nodename
        try:
            program = Path(f"/proc/{pid}/comm").read_text().strip() or program
        except OSError:
            pass  # it has ended already, or lives in another namespace
    return f"{program} pid {pid} on host {host}"
