"""Which device the shell talks to, and what the magics ask of it beyond the client's own words."""

from __future__ import annotations

import getpass
from typing import Any

from IPython.core.error import UsageError

from ..client import (
    NoDevice,
    OetClient,
    OetError,
    Procedure,
    ProcedureState,
    Summary,
    UnreachableError,
    devices,
)


class Session:
    """The device of a shell, and its client; made when it is first needed."""

    def __init__(self) -> None:
        self._client: OetClient | None = None

    @property
    def client(self) -> OetClient:
        """The client of the device.

        :raises NoDevice: nobody has said which, and the Tango database does not have exactly one
        :raises UnreachableError: the database does not answer
        """
        if self._client is None:
            self._client = OetClient(user=_user())
        return self._client

    def use(self, device: str) -> OetClient:
        """Talk to another device from now on.

        :raises OetError: it does not answer, or is no OetDevice; the shell stays with the one before
        """
        client = OetClient(device, user=_user())
        try:
            list(client.requests(limit=1))  # which only an OetDevice answers
        except (UnreachableError, NoDevice) as error:
            raise type(error)(f"{error}{_those_there_are(device)}") from None
        self.close()
        self._client = client
        return client

    def close(self) -> None:
        """End the client, if there is one; may be called twice."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def procedure(self, which: Any = None) -> Procedure:
        """Return a procedure.

        :param which: an id, a run id, a Procedure; None: the active one, else the one that has changed last
        :raises UsageError: there is none yet
        :raises UnknownProcedure: there is no such procedure
        """
        if isinstance(which, Procedure):
            return which
        if which is not None:
            text = str(which)
            return self.client.procedure(int(text) if text.isascii() and text.isdigit() else text)
        active = self.client.active
        if active is None:
            raise UsageError(f"{self.client.device} has had no procedure yet")
        return active

    def asked_for(self) -> Procedure:
        """Return the active procedure, else the last one, but no abort script unless that is RUNNING.

        :raises UsageError: there is none yet
        """
        active = self.procedure()
        now = active.summary()
        if now.state is ProcedureState.RUNNING or not _is_abort_script(now):
            return active
        others = [summary.id for summary in self.client.summaries() if not _is_abort_script(summary)]
        return self.client.procedure(others[-1]) if others else active


def _is_abort_script(summary: Summary) -> bool:
    """Say whether the device has begun it, because of a Stop, and nobody has asked for it."""
    return bool(summary.requested_by) and summary.requested_by[0].command == "Stop"


def _those_there_are(device: str) -> str:
    if "://" in device:  # of another database
        return ""
    try:
        found = devices()
    except OetError:
        return ""
    return f"; the OetDevices there are: {', '.join(found)}" if found else "; there is no OetDevice"


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the system does not know its name
        return None


def scripts(client: OetClient) -> list[str]:
    """Return the scripts in the device's ScriptRoots, and those that it has run."""
    ran = (summary.script.removeprefix("file://") for summary in client.summaries())
    return sorted({*client.available_scripts(), *(name for name in ran if "://" not in name)})
