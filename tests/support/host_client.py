"""A client of OetDevice on another host: reads requests as lines of JSON, answers each with one.

``python host_client.py``: each request is {"do": name, ...}; the answer is {"answer": value} or {"error": [reason,
description]}.  It ends when its standard input does.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import tango
from connection import until_connected  # type: ignore[import-not-found]  # of the same folder: this is a program

from ska_oet_device.client import LifecycleEvent, OetClient


class Client:
    """What can be asked for; each method is a request."""

    def __init__(self) -> None:
        self._proxies: dict[str, tango.DeviceProxy] = {}
        self._heard: dict[tuple[str, str], list[tuple[float, Any]]] = {}
        self._followed: dict[str, list[dict[str, Any]]] = {}
        self._clients: dict[str, OetClient] = {}

    def _proxy(self, device: str) -> tango.DeviceProxy:
        if device not in self._proxies:
            self._proxies[device] = tango.DeviceProxy(device)
        return self._proxies[device]

    def call(self, device: str, command: str, argument: Any = None) -> Any:
        given = () if argument is None else (argument,)
        return _plain(self._proxy(device).command_inout(command, *given))

    def read(self, device: str, attribute: str) -> Any:
        return _plain(self._proxy(device).read_attribute(attribute).value)

    def listen(self, device: str, attribute: str) -> None:
        """Subscribe with a mere DeviceProxy; `heard` has what comes."""
        heard = self._heard.setdefault((device, attribute), [])

        def note(data: Any) -> None:
            value = {"error": data.errors[0].reason} if data.err else _plain(data.attr_value.value)
            heard.append((time.time(), value))

        self._proxy(device).subscribe_event(attribute, tango.EventType.CHANGE_EVENT, note)
        until_connected(self._proxy(device))

    def heard(self, device: str, attribute: str, after: int = 0) -> list[tuple[float, Any]]:
        """Return what has come since the beginning, but the first `after`: [Unix time, value or {"error": reason}]."""
        return self._heard[device, attribute][after:]

    def follow(self, device: str) -> None:
        """Have the client library follow all lifecycle events; `followed` has them."""
        client = self._clients.setdefault(device, OetClient(device))
        followed = self._followed.setdefault(device, [])
        since = int(self._proxy(device).lifecycleSequence)

        def note() -> None:
            for event in client.follow(since=since):
                assert isinstance(event, LifecycleEvent)
                followed.append({"sequence": event.sequence, "uid": event.process_uid, "state": str(event.state)})

        threading.Thread(target=note, daemon=True).start()

    def followed(self, device: str, after: int = 0) -> list[dict[str, Any]]:
        return self._followed[device][after:]

    def register(self, server: str, device: str, properties: dict[str, list[str]]) -> None:
        """Have the Tango database know a device as one of a server; it is taken from any other."""
        database = tango.Database()
        info = tango.DbDevInfo()
        info.name, info._class, info.server = device, "OetDevice", f"OetDevice/{server}"
        database.add_device(info)
        database.put_device_property(device, properties)

    def exported(self, device: str) -> dict[str, Any]:
        """Return what the Tango database says of a device."""
        info = tango.Database().get_device_info(device)
        return {"server": info.ds_full_name, "exported": bool(info.exported), "pid": info.pid, "ior": info.ior}

    def ping_database(self) -> None:
        tango.Database().get_info()


def _plain(value: Any) -> Any:
    """Return a value as JSON knows it."""
    if isinstance(value, tango.DevState):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value


def _do(do: Callable[..., Any], arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"answer": do(**arguments)}
    except tango.DevFailed as failure:
        return {"error": [failure.args[0].reason, failure.args[0].desc]}
    except Exception as error:  # whatever it is, whoever has asked is to know
        return {"error": [type(error).__name__, str(error)]}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # what libraries print is no answer
    client = Client()
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(_do(getattr(client, request.pop("do")), request)), file=answers, flush=True)
    os._exit(0)  # Tango may wait for hosts that are gone


if __name__ == "__main__":
    main()
