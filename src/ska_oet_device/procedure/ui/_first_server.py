"""Whether another server serves a device of this one already: looked at before Tango starts.

Two servers for one device would both drive the telescope, and clients reach whichever has told the Tango database last.
cppTango looks only for a server of the same name, and ends without saying where it is.
"""

from __future__ import annotations

import contextlib
import logging
import struct
import time
from collections.abc import Iterable, Sequence

import tango

from ...giop import NOT_THERE, RemoteError, databases_of, request
from ._ask_database import Exported, exported_devices

_log = logging.getLogger(__name__)

_PATIENCE = 5.0  # seconds for a server that is ending, or whose main was killed a moment ago
_LOOK_AGAIN = 0.2  # seconds


def served_elsewhere(server: str, kind: str, patience: float = _PATIENCE) -> str:
    """Return which device of a server another one serves, which one that is, and what to do; "" if none does.

    A server that is cut off, or hangs, cannot be told from one that has died: it serves nothing.  May wait for as long
    as `patience`, and for hosts that do not answer.

    :param server: ``OetDevice/01``
    :param kind: the class of its devices
    """
    deadline = time.monotonic() + patience
    while (first := _serving(_exported(server, kind))) is not None:
        if time.monotonic() >= deadline:
            return (
                f"{first.device} is served by {first.server} on host {first.host} already ({_where(first)}), and a"
                " device has one server: end that one first, or leave it the device and do not start this one"
            )
        time.sleep(_LOOK_AGAIN)
    return ""


def _exported(server: str, kind: str) -> Sequence[Exported]:
    """Return what is exported of a server; nothing if the database does not say: Tango itself will tell why."""
    with contextlib.suppress(ValueError):
        for database in databases_of(tango.ApiUtil.get_env_var("TANGO_HOST") or ""):
            try:
                return exported_devices(database.host, database.port, server, kind)
            except (OSError, ValueError) as error:
                _log.debug("%s does not say who serves %s: %s", database.address, server, error)
    return []


def _serving(exported: Iterable[Exported]) -> Exported | None:
    """Return the first device for which somebody answers where it was exported."""
    silent: set[tuple[str, int]] = set()
    for each in exported:
        if each.reference.endpoint in silent:
            continue
        serves = is_served(each)
        if serves:
            return each
        if serves is None:
            silent.add(each.reference.endpoint)
    return None


def is_served(exported: Exported) -> bool | None:
    """Say whether a device is served where it was exported; None if nobody there can be asked.  May wait for that."""
    try:
        return request(exported.reference, "_get_name").text().lower() == exported.device.lower()
    except ConnectionRefusedError:
        return False
    except (OSError, OverflowError):
        return None
    except RemoteError as error:
        return False if error.name in ("", NOT_THERE) else None
    except struct.error:
        return False


def _where(first: Exported) -> str:
    return f"process {first.pid}, {first.reference.address}"
