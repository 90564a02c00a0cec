"""What a failure of Tango's means for a call: what was not reached, whether it was sent, and may be sent again."""

from __future__ import annotations

from typing import Final

import tango

from ._database import tango_host
from ._errors import OetError, UnreachableError, translate

_LOST_CONNECTION: Final = ("API_CorbaException", "API_CommandFailed", "API_CantConnectToDevice", "API_AttributeFailed")
_NOT_SENT: Final = ("TRANSIENT_ConnectFailed", "TRANSIENT_ConnectionClosed", "delayed")
_NO_SUCH: Final = ("API_CommandNotFound", "API_AttrNotFound")


def error_of(failure: tango.DevFailed, device: str, timeout: float) -> OetError:
    """Return the error that a DevFailed of a call of a device stands for.

    :param timeout: seconds within which it had to answer
    """
    error = translate(failure)
    return UnreachableError(_not_reached(failure, device, timeout)) if isinstance(error, UnreachableError) else error


def _not_reached(failure: tango.DevFailed, device: str, timeout: float) -> str:
    reasons = " ".join(error.reason for error in failure.args)
    texts = [str(error.desc).strip().splitlines()[0] for error in failure.args if str(error.desc).strip()]
    host = tango_host(device)
    if "API_CantConnectToDatabase" in reasons:
        return f"the Tango database {host} does not answer: {texts[-1]}"
    at = f" (Tango database {host})" if host else ""
    if "DeviceNotDefined" in reasons:
        return f"{texts[0]}{at}"
    if is_slow(failure):
        return f"{device} does not answer: not within {timeout:g} s{at}"
    if "DB_" in reasons:  # what DatabaseDS says while its MariaDB is away
        return f"the Tango database {host} fails: {texts[0] if texts else reasons}"
    if takes_no_connection(failure):
        return f"{device} does not answer: its server takes no connection{at}"
    return f"{device} does not answer: {texts[0] if texts else reasons}{at}"


def takes_no_connection(failure: tango.DevFailed) -> bool:
    """Say whether the Tango database knows the device, and nobody is there who takes a connection to it."""
    reasons = " ".join(error.reason for error in failure.args)
    if "Database" in reasons or "DB_" in reasons or is_slow(failure):
        return False
    return "API_CantConnectToDevice" in reasons or "API_DeviceNotExported" in reasons or was_not_sent(failure)


def is_slow(failure: tango.DevFailed) -> bool:
    """Say whether the time was over."""
    texts = [f"{error.reason} {error.desc}".lower() for error in failure.args]
    return any("timedout" in text or "timeout" in text for text in texts)


def has_lost_connection(failure: tango.DevFailed) -> bool:
    """Say whether another connection may reach the device."""
    return failure.args[0].reason in _LOST_CONNECTION and not is_slow(failure)


def was_not_sent(failure: tango.DevFailed) -> bool:
    """Say whether the device has certainly got nothing."""
    return any(text in error.desc for error in failure.args for text in _NOT_SENT)


def is_another_class(failure: tango.DevFailed) -> bool:
    """Say whether the device lacks what each OetDevice has."""
    return failure.args[0].reason in _NO_SUCH
