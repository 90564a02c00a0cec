"""Whether a device is in use: the SKA's adminMode, and what it lets be asked for."""

from __future__ import annotations

import enum

from ...errors import NotAllowedError


class AdminMode(enum.IntEnum):
    """The SKA's adminMode."""

    ONLINE = 0
    OFFLINE = 1
    ENGINEERING = 2
    NOT_FITTED = 3
    RESERVED = 4

    @property
    def is_in_use(self) -> bool:
        """Whether scripts may be prepared and started."""
        return self in (AdminMode.ONLINE, AdminMode.ENGINEERING)

    @property
    def notice(self) -> str:
        """What Status says of it; "" if nothing."""
        return "" if self.is_in_use else f"adminMode is {self.name}: no script is prepared or started."

    def check(self) -> None:
        """See that a script may be prepared or started.

        :raises NotAllowedError: the device is not in use
        """
        if not self.is_in_use:
            raise NotAllowedError(
                f"adminMode is {self.name}: scripts are prepared and started while it is ONLINE or ENGINEERING"
            )
