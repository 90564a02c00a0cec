"""What the device class and its parts have in common: where requests lead, and how one is served."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import tango

from ..application import ScriptExecutionService
from ._boundary import Request
from ._clients import ClientNames
from ._host import DeviceHost

_CLIENTS = ClientNames()


class Serving:
    """What the commands of the device need, whichever class they stand in.

    Such a class is none of Tango's: PyTango takes the commands over, and looks for the methods that write, when it
    makes the class of the device.

    :ivar _host: what outlives the device object
    :ivar _service: the use cases
    :ivar get_name: returns the name of the device
    :ivar get_client_ident: returns who has called the command; in the thread of the command alone
    """

    _host: DeviceHost
    _service: ScriptExecutionService
    get_name: Callable[[], str]
    get_client_ident: Callable[[], Any]

    def _request(
        self, name: str, *arguments: Any, audited: bool = False, via: str = ""
    ) -> AbstractContextManager[Request]:
        """Return the context in which a request is served; only the thread of the command itself knows who asks.

        :param audited: whether a refusal is kept; what is accepted is kept by the service
        :param via: under which name the service keeps it, where that is not the use case's own
        """
        starting = tango.Util.instance().is_svr_starting()  # a memorised value is written: there is no client
        client = "memorised value" if starting else _CLIENTS.name_of(self.get_client_ident())
        request = Request(self.get_name(), name, arguments, client, via)
        return request.served(self._service.audit if audited else None)
