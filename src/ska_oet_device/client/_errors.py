"""What can go wrong for a client: one tree of errors, of which the refusals are named after the contract's reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tango

if TYPE_CHECKING:
    from ._answers import Summary


class OetError(Exception):
    """Whatever a client of an OetDevice may raise, but for TimeoutError and ValueError."""


class UnreachableError(OetError):
    """The device, its server or the Tango database does not answer, or there is no such device."""


class NoDevice(OetError):  # noqa: N818 - says it
    """It is no OetDevice; or nobody has said which one, and the database does not have exactly one."""


class ForkedError(OetError):
    """This client was made by another process, of which this one is a fork: Tango does not work in both."""


class ClosedError(OetError):
    """The client was closed, by this thread or by another one."""


class RefusedError(OetError):
    """The device has refused a request, which has changed nothing.

    :param text: what the device says: the place, the value and the rule
    :param reason: the contract's name of the reason, such as OET_Busy
    """

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(text)
        self.reason = reason


class InvalidArgument(RefusedError):  # noqa: N818 - the contract's name
    """The argument is not as the contract describes it, or the script is no Python."""


class UnknownProcedure(RefusedError):  # noqa: N818
    """There is no such procedure."""


class UnknownCheck(RefusedError):  # noqa: N818
    """There is no such check, or its report is not kept any more."""


class InvalidState(RefusedError):  # noqa: N818
    """The procedure is not READY, or has ended."""


class Busy(RefusedError):  # noqa: N818
    """Another procedure has the turn."""


class ScriptNotFound(RefusedError):  # noqa: N818
    """There is no such script, or its file system does not answer."""


class NotAllowed(RefusedError):  # noqa: N818
    """The script lies outside ScriptRoots, or its repository outside GitRepositories."""


class TooMany(RefusedError):  # noqa: N818
    """Too many procedures live, or too many requests wait."""


class TooLarge(RefusedError):  # noqa: N818
    """The argument, or the answer, is too large."""


class NoHistory(RefusedError):  # noqa: N818
    """The durable history cannot be read now, and what is asked for stands in it alone."""


class Internal(RefusedError):  # noqa: N818
    """A fault of the device server."""


class ProcedureError(OetError):
    """A procedure has not come to where somebody waited for it.

    :param text: what has happened
    :param summary: what is known of the procedure
    """

    def __init__(self, text: str, summary: Summary) -> None:
        super().__init__(text)
        self.summary = summary

    @property
    def reason(self) -> str:
        """Why the procedure has ended."""
        return self.summary.reason or ""


class ProcedureFailed(ProcedureError):  # noqa: N818
    """The procedure is FAILED, or UNKNOWN: its process cannot be killed."""

    @property
    def traceback(self) -> str:
        """The script's own traceback; empty if it has none."""
        return self.summary.stacktrace or ""


class ProcedureStopped(ProcedureError):  # noqa: N818
    """The procedure is STOPPED: somebody has stopped it, or it has stopped itself."""


class StartDropped(ProcedureError):  # noqa: N818
    """A start that was asked for ahead of time came to nothing: another procedure had the turn."""


class Deadlock(OetError):  # noqa: N818
    """A script would wait for itself, for ever."""


class NotReached(ProcedureError):  # noqa: N818
    """The procedure has completed without having been in the state that was waited for."""


_REFUSALS: dict[str, type[RefusedError]] = {
    f"OET_{kind.__name__}": kind
    for kind in (
        InvalidArgument,
        UnknownProcedure,
        UnknownCheck,
        InvalidState,
        Busy,
        ScriptNotFound,
        NotAllowed,
        TooMany,
        TooLarge,
        NoHistory,
        Internal,
    )
}

# Beginnings of the reasons by which Tango says that it has not reached a device.
_UNREACHABLE = (
    "API_CorbaException",
    "API_CantConnectTo",
    "API_DeviceNotExported",
    "API_DeviceNotDefined",
    "API_DeviceTimedOut",
    "API_CommandTimedOut",
    "API_ServerNotRunning",
    "API_ZmqFailed",
    "API_EventTimeout",
    "API_TangoHostNotSet",
    "DB_",
)


def translate(failure: tango.DevFailed) -> OetError:
    """Return the error that a DevFailed stands for."""
    reasons = [error.reason for error in failure.args]
    for error in failure.args:
        if error.reason.startswith("OET_"):
            kind = _REFUSALS.get(error.reason, RefusedError)
            return kind(error.desc.removesuffix(f" [{error.reason}]"), error.reason)
    text = str(failure.args[0].desc).strip()
    if any(reason.startswith(_UNREACHABLE) for reason in reasons):
        return UnreachableError(text.splitlines()[0] if text else reasons[0])
    return RefusedError(text, reasons[0])
