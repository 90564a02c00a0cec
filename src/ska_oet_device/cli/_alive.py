"""`oet health --alive`: whether a device answers at all; for a probe that has a container killed where it does not.

The device is asked for its State, by a connection of its own: that goes through the device's lock and its Python, and
has nothing forked. Where the device was when it answered last is known (`_known_addresses`), so that mostly neither the
Tango database is asked nor Tango imported. While the database is away nothing counts against a device but that it
hangs: a server that was started anew would wait for the database, and its scripts would be lost. What the database has
said since the look began holds, so that one that is slow when the time is over hides no failure.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator

from ..giop import NoSuchObject, Reference, ask_state, databases_of, reference_of
from ._health import ALIVE, Look
from ._known_addresses import known, note
from ._tango_host import NOT_SET

_AGAIN = 0.3  # seconds between two attempts
_DIRECT = re.compile(r"(?:tango:)?//([^/:]+):(\d+)/([^#]+)#dbase=no$", re.IGNORECASE)
_NAMED = re.compile(r"(?:tango:)?//([^/]+:\d+)/([^#]+)", re.IGNORECASE)
_WITHOUT = "its server answers; more the Tango database alone could tell"


class _DatabaseFails(Exception):  # noqa: N818 - says it
    """The Tango database answers, and does not do what it is asked."""


class AliveLook(Look):
    """Looks whether a device answers."""

    _server_answers = False
    _is_looked_up = False  # the database has said where the device is, since this look began

    def look(self) -> tuple[str, str]:
        """Ask the device where it was last, else where the Tango database says that it is."""
        self.at = "the device"
        while True:
            self._server_answers = False
            for reference in self._noted():
                try:
                    return self._asked(reference)
                except NoSuchObject:  # of another process, or registered in a database
                    self._server_answers = True
                except TimeoutError:
                    return self._hangs()
                except OSError as error:
                    self.failure = self.failure or _not_connected(reference, error)
            found = self._looked_up()
            if found is not None:
                return found
            time.sleep(_AGAIN)

    def _noted(self) -> Iterator[Reference]:
        """Yield where the device may be: as its name says, and as it was noted."""
        direct = _DIRECT.fullmatch(self.device or "")
        if direct:
            yield Reference(direct[1], int(direct[2]), direct[3].lower().encode())
        host, name = self._registered()
        reference = reference_of(known(host, name) or "") if name and host else None
        if reference is not None:
            yield reference

    def _registered(self) -> tuple[str, str | None]:
        """Return the Tango database that the device is registered in, empty if nobody has named it, and its name."""
        direct, named = _DIRECT.fullmatch(self.device or ""), _NAMED.match(self.device or "")
        if named and not direct:
            return named[1], named[2]
        return _tango_host(), direct[3] if direct else self.device

    def _asked(self, reference: Reference) -> tuple[str, str]:
        return ALIVE, f"State is {ask_state(reference, self._left())}"

    def _looked_up(self) -> tuple[str, str] | None:
        """Ask the device where the Tango database says that it is; None: it may be about to be there."""
        host, name = self._registered()
        if not host:
            return self._unknown(NOT_SET) if self._server_answers else ("FAILED", self.failure or NOT_SET)
        self.at = f"the Tango database {host}"
        trouble = self._trouble_of(host)
        if trouble:
            return self._unknown(trouble)
        try:
            name, ior = self._imported(host, name)
        except _DatabaseFails as failure:
            return self._unknown(f"the Tango database {host} fails: {failure}")
        self.at = "the device"
        self._is_looked_up = True
        answer = self._asked_where(ior)
        if answer is not None and answer[0] == ALIVE:
            note(host, name, ior)
        return answer

    def _asked_where(self, ior: str) -> tuple[str, str] | None:
        """Ask the device where it is said to be; None: it may be about to be there."""
        reference = reference_of(ior) if ior else None
        if reference is None:
            self.failure = self.failure or "does not run: its server has ended, or has not begun"
            return None
        try:
            return self._asked(reference)
        except TimeoutError:
            return self._hangs()
        except NoSuchObject:
            self.failure = self.failure or "its server is starting, or does not have it"
        except OSError as error:
            self.failure = self.failure or _not_connected(reference, error)
        return None

    def _imported(self, host: str, name: str | None) -> tuple[str, str]:
        """Return the device's name, and its object reference as the database has it: empty if its server does not run.

        :raises _DatabaseFails: the database does not do what it is asked
        """
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy, which comes with Tango, needs none of its threads
        import tango

        try:
            if name is None:
                name = self.device_name(tango, host)
            first, *others = databases_of(host)
            database = tango.Database() if others else tango.Database(*first.endpoint)
            found = database.import_device(name)
        except tango.DevFailed as failure:
            if "DeviceNotDefined" in failure.args[0].reason:
                raise
            raise _DatabaseFails(str(failure.args[0].desc).strip().splitlines()[0]) from None
        return name, str(found.ior) if found.exported else ""

    def _trouble_of(self, host: str) -> str:
        """Return what keeps the Tango database from being asked; empty if nothing does.

        :raises ValueError: its address is none
        """
        trouble = ""
        for database in databases_of(host):
            try:
                ask_state(database, self._left() / 2)
            except (OSError, NoSuchObject) as error:  # a TimeoutError, too
                trouble = f"the Tango database {host} does not answer: {getattr(error, 'strerror', None) or error}"
            else:
                return ""
        return trouble

    def too_late(self) -> tuple[str, str]:
        """Return what is said when the time is over: that of a database that hangs counts against no device."""
        if self.at.startswith("the Tango database"):
            return self._unknown(f"no answer from {self.at} within {self._timeout:g} s")
        return self._known()

    def _known(self) -> tuple[str, str]:
        return ("FAILED", self.failure) if self.failure else self._hangs()

    def _unknown(self, trouble: str) -> tuple[str, str]:
        """Return what is said while nobody can look for the device: what was found before, in this look, holds."""
        if self._server_answers:
            return ALIVE, f"{_WITHOUT}, and {trouble}"
        if self._is_looked_up:
            return self._known()
        known_of_it = f" ({self.failure})" if self.failure else ""
        return (
            ALIVE,
            f"as far as can be known: {trouble}{known_of_it}; a server that was started anew would wait for it",
        )

    def _hangs(self) -> tuple[str, str]:
        return "FAILED", f"hangs: no answer within {self._timeout:g} s"

    def _left(self) -> float:
        """Return the seconds that are left."""
        return max(0.01, self.ends - time.monotonic())


def _not_connected(reference: Reference, error: OSError) -> str:
    return f"takes no connection at {reference.host}:{reference.port}: {(error.strerror or str(error)).lower()}"


def _tango_host() -> str:
    host = os.environ.get("TANGO_HOST")
    if host:
        return host
    import tango

    found = tango.ApiUtil.get_env_var("TANGO_HOST")  # looks into ~/.tangorc and /etc/tangorc
    return found if isinstance(found, str) else ""
