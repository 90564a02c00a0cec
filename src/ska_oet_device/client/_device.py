"""Which device a client talks to: named, by $OET_DEVICE, by the script it is in, or the only one of the database."""

from __future__ import annotations

import os

import tango

from ._database import look, tango_host
from ._errors import NoDevice
from ._failures import error_of

VARIABLE = "OET_DEVICE"
_TIMEOUT = 3.0  # seconds for the database
_RUNS_ON = "SKA_OET_DEVICE"  # what a script's process is told


def device_name(name: str | None) -> str:
    """Return the Tango name of the device.

    :param name: as the caller gives it; None: $OET_DEVICE, else, within a script, the device that executes it, else the
        only OetDevice of the Tango database
    :raises NoDevice: the database has none, or more than one; names them
    :raises UnreachableError: the database does not answer
    """
    found = name or os.environ.get(VARIABLE) or os.environ.get(_RUNS_ON)
    return found or _only_one()


def devices() -> list[str]:
    """Return the names of the OetDevices of the Tango database.

    :raises UnreachableError: the database does not answer
    """
    look("", _TIMEOUT)
    try:
        found = tango.Database().command_inout("DbGetDeviceList", ["*", "OetDevice"])  # see _directory
        return [str(name) for name in found if name]
    except tango.DevFailed as failure:
        raise error_of(failure, "", _TIMEOUT) from None


def _only_one() -> str:
    found = devices()
    if len(found) == 1:
        return found[0]
    host = tango_host()
    if not found:
        raise NoDevice(f"the Tango database {host} has no device of the class OetDevice")
    raise NoDevice(f"the Tango database {host} has {len(found)} OetDevices: say which ({', '.join(found)})")
