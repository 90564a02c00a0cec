"""The errors of this program: one small tree, each with the reason that a Tango client sees.

Every error carries a text that names the value and the rule.  They become DevFailed in one
place, `ska_oet_device.procedure.ui`.
"""

from __future__ import annotations

_SHOWN = 200  # characters


class OetError(Exception):
    """A request could not be done; `reason` is the DevFailed reason of the contract."""

    reason = "OET_Internal"


class InvalidArgumentError(OetError):
    """The argument is not JSON, does not fit the schema, or names something that cannot be."""

    reason = "OET_InvalidArgument"


class UnknownProcedureError(OetError):
    """No procedure has this id on this device."""

    reason = "OET_UnknownProcedure"


class UnknownCheckError(OetError):
    """No check has this id on this device, or its report is not kept any more."""

    reason = "OET_UnknownCheck"


class InvalidStateError(OetError):
    """The procedure is not in a state in which this can be done."""

    reason = "OET_InvalidState"


class BusyError(OetError):
    """Another procedure of this device has the turn: it runs, is being started, or is still ending."""

    reason = "OET_Busy"


class ScriptNotFoundError(OetError):
    """There is no script at this URI."""

    reason = "OET_ScriptNotFound"


class NotAllowedError(OetError):
    """The script lies outside the folders or repositories that this device may use, or its adminMode lets none run."""

    reason = "OET_NotAllowed"


class TooManyError(OetError):
    """A limit on the number of things alive at once is reached."""

    reason = "OET_TooMany"


class TooLargeError(OetError):
    """The argument is larger than a request may be."""

    reason = "OET_TooLarge"


class NotConnectedError(OetError):
    """Nobody carries messages to a main process: no script's process can be made."""


class HistoryError(OetError):
    """The durable history cannot be read now."""

    reason = "OET_NoHistory"


def brief(text: str, longest: int = _SHOWN) -> str:
    """Return what somebody has given as an error shows it: its beginning, and its size if there is more."""
    return text if len(text) <= longest else f"{text[:longest]}... ({len(text)} characters)"
