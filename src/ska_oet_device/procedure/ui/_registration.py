"""Whether the Tango database still names this server for a device.

Another one may have taken it while this one was cut off.  And a database that was made anew, or restored, names nobody:
clients that are new find no device then, though it is there.
"""

from __future__ import annotations

import enum
import logging
import os
import time
from dataclasses import dataclass

import tango

from ...giop import RemoteError
from ...logs import about
from ._ask_database import registered
from ._first_server import is_served
from ._start_check import own_address

_log = logging.getLogger(__name__)

_PERIOD = 30.0  # seconds
_NOT_DEFINED = "DB_DeviceNotDefined"
_ONCE_MORE = 2.0  # seconds until a database that did not answer is asked once more
_STARTS = 15.0  # seconds in which a device server that has ended may be started again by its main


class Registered(enum.Enum):
    """What the database says of a device, as its server sees it."""

    HERE = enum.auto()
    NOWHERE = enum.auto()
    ELSEWHERE = enum.auto()
    UNKNOWN = enum.auto()


@dataclass(frozen=True)
class Registration:
    """What the database says.

    :param problem: a sentence on what is amiss
    :param stays: seconds, behind which that counts if it is still so: a device is exported anew in several steps
    """

    registered: Registered = Registered.HERE
    problem: str = ""
    stays: float = 2.0


class RegistrationWatch:
    """Asks the database about one device, twice a minute.  For a thread that may wait."""

    def __init__(self, device: str) -> None:
        """Ask nothing yet."""
        self._device = device
        self._next_look = time.monotonic() + _PERIOD
        self._doubted: Registration | None = None
        self.current = Registration()

    def look_at_once(self) -> None:
        """Somebody initialises the device: what the database says may have changed."""
        self._next_look = 0.0

    def look(self) -> bool:
        """Ask if it is time to; says whether `current` is another one now.  What is amiss counts when it stays."""
        now = time.monotonic()
        if now < self._next_look:
            return False
        self._next_look = now + _PERIOD
        try:
            found = self._ask()
        except (OSError, ValueError) as failure:
            if not isinstance(failure, RemoteError) or failure.name != _NOT_DEFINED:
                self._next_look = now + _ONCE_MORE  # who was cut off is to know soon what has happened meanwhile
                return False
            found = Registration(Registered.UNKNOWN, "The Tango database knows this device no more: register it again.")
        if found.problem and found not in (self.current, self._doubted):
            self._doubted, self._next_look = found, now + found.stays
            return False
        is_another, self.current, self._doubted = found != self.current, found, None
        if is_another:
            self._log()
        return is_another

    def _log(self) -> None:
        problem = self.current.problem
        level = logging.ERROR if problem else logging.INFO
        text = problem or "the Tango database names this server for the device again"
        _log.log(level, "%s", text, extra=about(self._device))

    def _ask(self) -> Registration:
        util = tango.Util.instance()
        database = util.get_database()
        # Not by Tango's client: who reads properties would wait for its connection, too, while the database hangs.
        server, first = registered(database.get_db_host(), database.get_db_port_num(), self._device)
        if server.lower() != util.get_ds_name().lower():
            where = f", which runs on host {first.host} ({first.reference.address})" if first is not None else ""
            return Registration(Registered.ELSEWHERE, self._taken(f"a device of {server}{where}, not of this server"))
        if first is None:
            return Registration(
                Registered.NOWHERE, "The Tango database does not say that this server serves the device."
            )
        place = first.reference.address
        if (first.pid, place) == (os.getpid(), own_address()):
            return Registration()
        if is_served(first) is False:
            problem = (
                f"The Tango database names process {first.pid} on host {first.host} ({place}), where nobody serves it."
            )
            return Registration(Registered.NOWHERE, problem, _STARTS)
        other = f"served by process {first.pid} on host {first.host} ({place}), not by this server"
        return Registration(Registered.ELSEWHERE, self._taken(other))

    def _taken(self, how: str) -> str:
        return (
            f"The Tango database says that {self._device} is {how}: nothing is prepared or started here."
            " End one of the two servers."
        )
