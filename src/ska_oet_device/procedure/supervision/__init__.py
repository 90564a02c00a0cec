"""What main does: supervise the scripts' processes and the device server's.  One thread, one event loop."""

from ._device_server import DeviceServerKeeper, PeerPipe
from ._journal import Journal
from ._supervisor import ScriptSupervisor
from ._unheard import UnheardFile

__all__ = ["DeviceServerKeeper", "Journal", "PeerPipe", "ScriptSupervisor", "UnheardFile"]
