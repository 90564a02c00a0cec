"""What a device's service stands on: its folder, its history, and who looks after both.  Knows no Tango."""

from ._device_state import DeviceState
from ._service_keeper import ServiceKeeper

__all__ = ["DeviceState", "ServiceKeeper"]
