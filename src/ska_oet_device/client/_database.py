"""Which Tango database a client means, and whether anybody listens there: a look that is over within a time limit.

Tango's own attempt to reach a host that does not answer takes as long as its network lets it.
"""

from __future__ import annotations

import contextlib
import re
import socket

import tango

from ..giop import Reference, databases_of
from ._errors import UnreachableError

_DEVICE = re.compile(r"tango://([^/]+:\d+)/", re.IGNORECASE)
UNSET = "TANGO_HOST is not set"


def tango_host(device: str = "") -> str | None:
    """Return host and port of the database of a device, as its name or TANGO_HOST says; None if nothing says it.

    TANGO_HOST is the environment's, else that of ~/.tangorc or /etc/tangorc.
    """
    if "#dbase=no" in device.lower():
        return None
    named = _DEVICE.match(device)
    if named:
        return named.group(1)
    with contextlib.suppress(tango.DevFailed):
        found = tango.ApiUtil.get_env_var("TANGO_HOST")
        return found if isinstance(found, str) and found else None
    return None


def named_databases(host: str) -> list[Reference]:
    """Return the databases that a value of TANGO_HOST names; UnreachableError if it names none."""
    try:
        return databases_of(host)
    except ValueError as error:
        raise UnreachableError(str(error)) from None


def look(device: str, timeout: float) -> None:
    """Make sure that somebody listens where the database of a device is said to be.

    :param device: its name; empty: the database of TANGO_HOST
    :param timeout: seconds
    :raises UnreachableError: nobody does, or nobody says where it is
    """
    if "#dbase=no" in device.lower():
        return
    host = tango_host(device)
    if host is None:
        raise UnreachableError(f"{UNSET}: which Tango database? (TANGO_HOST=host:port, or in /etc/tangorc)")
    databases = named_databases(host)
    failure = ""
    for database in databases:
        try:
            socket.create_connection(database.endpoint, timeout / len(databases)).close()
        except OSError as error:
            failure = str(error) or "no answer"
        else:
            return
    raise UnreachableError(f"the Tango database {host} does not answer: {failure}")
