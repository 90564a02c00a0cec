"""A Tango device that does next to nothing: what its commands and events cost is what Tango costs.

``python -m bench.floor_device INSTANCE …`` runs it.
"""

from __future__ import annotations

import sys

from tango.server import Device, attribute, command, run

SERVER_NAME = "FloorDevice"


class FloorDevice(Device):
    """An empty command, and one that pushes an event."""

    def init_device(self) -> None:
        super().init_device()
        self._count = 0
        self.set_change_event("count", True, False)

    @attribute(dtype=int)
    def count(self) -> int:
        return self._count

    @command
    def Empty(self) -> None:
        """Do nothing."""

    @command
    def Push(self) -> None:
        """Push a change event."""
        self._count += 1
        self.push_change_event("count", self._count)


if __name__ == "__main__":
    run([FloorDevice], args=[SERVER_NAME, *sys.argv[1:]])
