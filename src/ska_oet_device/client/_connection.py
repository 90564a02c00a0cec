"""A device as a client calls it: commands with JSON, errors translated, and never from a process that was forked."""

from __future__ import annotations

import json
import math
import os
from typing import Any

import tango

from ._errors import ForkedError, translate


def make_proxy(device: str, timeout: float) -> tango.DeviceProxy:
    """Return a synchronous proxy, whatever the green mode of the process; raises DevFailed."""
    proxy = tango.DeviceProxy(device, green_mode=tango.GreenMode.Synchronous)
    proxy.set_timeout_millis(math.ceil(timeout * 1000))
    return proxy


class Connection:
    """Calls commands of one device; any thread may.

    :param device: its Tango name
    :param timeout: seconds within which it has to answer
    """

    def __init__(self, device: str, timeout: float) -> None:
        self.device = device
        self.timeout = timeout
        self._pid = os.getpid()
        self._proxy: tango.DeviceProxy | None = None

    def call(self, command: str, argument: Any = None) -> Any:
        """Call a command, and return what its JSON says.

        :raises RefusedError: the device refuses it; a class named after the contract's reason
        :raises UnreachableError: the device does not answer
        :raises ForkedError: this process is a fork of the one that made the client
        """
        answer = self._on_proxy("command_inout", command, *(() if argument is None else (argument,)))
        return json.loads(answer) if answer else None

    def read(self, *attributes: str) -> list[Any]:
        """Return values of attributes, of one moment; None for one that is INVALID.  Raises as `call`."""
        values = self._on_proxy("read_attributes", attributes)
        return [None if value.is_empty or value.has_failed else value.value for value in values]

    def _on_proxy(self, method: str, *arguments: Any) -> Any:
        check_process(self._pid)
        try:
            if self._proxy is None:
                self._proxy = make_proxy(self.device, self.timeout)
            return getattr(self._proxy, method)(*arguments)
        except tango.DevFailed as failure:
            raise translate(failure) from None


def check_process(pid: int) -> None:
    """Make sure that this is the process that made the client: Tango's threads do not survive a fork.

    :raises ForkedError: it is not
    """
    if os.getpid() != pid:
        raise ForkedError(
            f"this client belongs to process {pid}; process {os.getpid()} is a fork of it, in which Tango does not "
            "work: make the client in a process that was started anew (multiprocessing's spawn)"
        )
