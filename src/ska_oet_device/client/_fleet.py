"""All OetDevices of a Tango database as they are now, asked at once: one that hangs delays no other."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Final

from ._connection import fix_queue_length
from ._crew import Done, all_done
from ._directory import Directory
from ._report import DeviceReport, Presence, look_at

SLOTS: Final = 32
"""Devices that are asked at once; what hangs keeps a slot for its time limit alone."""


MARGIN: Final = 0.5
"""Seconds beyond its time limit after which a device is given up that has not said itself that it hangs."""


def fleet(patterns: Iterable[str] = (), *, timeout: float = 3.0) -> list[DeviceReport]:
    """Return what is known of each OetDevice of the Tango database, in the natural order of their names.

    Nothing is tried by the devices for it: their health is what they know of themselves, as it is pushed. Whatever a
    device does is no error, but in its report.

    :param patterns: as a shell has them for files: only devices whose names fit one of them
    :param timeout: seconds that the database and each device have for an answer
    :raises UnreachableError: the Tango database does not answer
    """
    fix_queue_length()
    directory = Directory(timeout)
    names = directory.names(patterns)
    calls = {name: functools.partial(look_at, name, directory, timeout) for name in names}
    done = all_done(calls, timeout + MARGIN, SLOTS)
    found = [report_of(name, done[name], timeout) for name in names]
    return [each for each in found if each.presence is not Presence.REMOVED]


def report_of(device: str, done: Done[DeviceReport], timeout: float) -> DeviceReport:
    """Return the report, or one that says why there is none."""
    if done.result is not None:
        return done.result
    if isinstance(done.error, TimeoutError):
        return DeviceReport(device, Presence.NO_ANSWER, f"hangs: no answer within {timeout:g} s")
    return DeviceReport(device, Presence.NO_ANSWER, str(done.error))
