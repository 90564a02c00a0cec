"""A device of the class OetDevice as an early version may have had it: State and Status, and a health that it reads.

``python early_device.py INSTANCE ARGUMENT...``, the arguments being Tango's.
"""

from __future__ import annotations

import enum

import tango
from tango.server import Device, attribute


class Health(enum.IntEnum):
    """The SKA's healthState."""

    OK = 0
    DEGRADED = 1


class OetDevice(Device):
    """Has neither procedures nor a version."""

    def init_device(self) -> None:
        """Be ON."""
        super().init_device()
        self.set_state(tango.DevState.ON)
        self.set_change_event("State", True, False)

    @attribute(dtype=Health)
    def healthState(self) -> Health:
        """Return what it says of itself."""
        return Health.DEGRADED


if __name__ == "__main__":
    OetDevice.run_server()
