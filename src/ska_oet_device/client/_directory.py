"""What the Tango database knows of the OetDevices, asked within a time limit: it may be away, or hang.

It is asked by commands of its device: PyTango's methods for it keep Python's lock while they wait, so that the whole
program would stand still, for minutes.
"""

from __future__ import annotations

import fnmatch
import math
import queue
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import tango

from ..giop import NoSuchObject, Reference, ask_state, reference_of
from ..inbox import Inbox
from . import _gate
from ._database import UNSET, named_databases, tango_host
from ._errors import UnreachableError

T = TypeVar("T")
_CLASS = "OetDevice"


@dataclass(frozen=True)
class Entry:
    """A device as the Tango database has it.

    `started` and `stopped` are texts as the database writes them, empty if it has none.
    """

    device: str
    server: str
    host: str
    pid: int
    is_exported: bool
    started: str
    stopped: str
    reference: Reference | None


class Directory:
    """The OetDevices of the database of TANGO_HOST; any thread may ask.

    :param timeout: seconds that the database has for an answer
    """

    def __init__(self, timeout: float) -> None:
        self.host = tango_host() or ""
        self._timeout = timeout
        self._database: tango.Database | None = None

    def names(self, patterns: Iterable[str] = ()) -> list[str]:
        """Return the names of the devices, in natural order.

        :param patterns: as a shell has them for files; a device fits one of them, or there are none
        :raises UnreachableError: the database does not answer, or fails
        """
        wanted = list(patterns)
        found = self._in_time(lambda database: list(database.command_inout("DbGetDeviceList", ["*", _CLASS])))
        return sorted((name for name in found if name and fits(name, wanted)), key=natural)

    def exported(self) -> frozenset[str]:
        """Return the names, in small letters, of those devices whose server has said that it runs.

        :raises UnreachableError: the database does not answer, or fails
        """
        found = self._in_time(lambda database: list(database.command_inout("DbGetExportdDeviceListForClass", _CLASS)))
        return frozenset(name.lower() for name in found)

    def entry(self, device: str) -> Entry:
        """Return what is known of a device, in the thread that asks; raises DevFailed."""
        with _gate.call():
            return entry_of(self._connected(), device)

    def _in_time(self, ask: Callable[[tango.Database], T]) -> T:
        self.check()
        answers: Inbox[T | Exception] = Inbox()

        def answer() -> None:
            try:
                with _gate.call():
                    answers.put(ask(self._connected()))
            except Exception as error:  # whatever it was, it is the answer
                answers.put(error)

        threading.Thread(target=answer, name="client's look into the Tango database", daemon=True).start()
        try:
            found = answers.get(timeout=self._timeout)
        except queue.Empty:
            raise self._silent() from None
        if isinstance(found, tango.DevFailed):
            raise UnreachableError(f"the Tango database {self.host} fails: {first_line(found)}") from None
        if isinstance(found, Exception):
            raise found
        return found

    def _connected(self) -> tango.Database:
        if self._database is None:
            database = tango.Database()
            database.set_timeout_millis(math.ceil(self._timeout * 1000))
            self._database = database
        return self._database

    def check(self) -> None:
        """Make sure that the database answers: Tango's own client would take nine seconds to find that it does not.

        :raises UnreachableError: it does not
        """
        if not self.host:
            raise UnreachableError(f"{UNSET}: which Tango database? (TANGO_HOST=host:port, or in /etc/tangorc)")
        databases = named_databases(self.host)
        for database in databases:
            try:
                ask_state(database, self._timeout / len(databases))
            except TimeoutError:
                failure = self._silent()
            except NoSuchObject:
                failure = UnreachableError(f"{self.host} is a Tango server, and no Tango database")
            except OSError as error:
                failure = UnreachableError(f"the Tango database {self.host} does not answer: {error}")
            else:
                return
        raise failure

    def _silent(self) -> UnreachableError:
        return UnreachableError(f"the Tango database {self.host} does not answer: not within {self._timeout:g} s")


def entry_of(database: tango.Database, device: str) -> Entry:
    """Return what a database knows of a device; raises DevFailed."""
    (is_exported, pid), texts = database.command_inout("DbGetDeviceInfo", device)
    _, reference, _, server, host, started, stopped, *_ = map(_text, texts)
    return Entry(device, server, host, int(pid), bool(is_exported), started, stopped, reference_of(reference))


def fits(device: str, patterns: Iterable[str]) -> bool:
    """Say whether a device fits one of some patterns, in whatever case; all do where there are none."""
    wanted = list(patterns)
    return not wanted or any(fnmatch.fnmatchcase(device.lower(), each.lower()) for each in wanted)


def natural(name: str) -> list[tuple[int, str]]:
    """Return a key by which names are sorted as people do: subarray/2 before subarray/10."""
    parts = re.split(r"(\d+)", name.lower(), flags=re.ASCII)
    return [(int(part), "") if part.isdecimal() and part.isascii() else (-1, part) for part in parts]


def _text(value: object) -> str:
    text = str(value).strip()
    return "" if text in ("?", "nada", "") else text


def first_line(failure: tango.DevFailed) -> str:
    """Return what a failure says first."""
    return (str(failure.args[0].desc).strip() or str(failure.args[0].reason)).splitlines()[0]
