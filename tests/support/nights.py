"""A night at four subarrays: one observes, one fails, one is ready; so that boards have something to show."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .databases import make_database
from .tango_server import Oet, Server, filesystem
from .waiting import wait_until

SCRIPTS = Path(__file__).parents[1] / "night"
NAMES = tuple(f"mid-oet/subarray/{number:02}" for number in range(1, 5))


@contextlib.contextmanager
def a_night(folder: Path) -> Iterator[dict[str, Oet]]:
    """Have four devices in the middle of a night, in a server of their own; by their names.

    :param folder: where its files go
    """
    database = make_database(folder)
    try:
        properties = {"ScriptRoots": [SCRIPTS], "StopGracePeriod": 1}
        database.add_server("night", {name: dict(properties) for name in NAMES})
        server = Server(["night", "-ORBendPoint", "giop:tcp:127.0.0.1:0"], folder / "server", database.host)
        try:
            devices = {name: Oet(database, name, server) for name in NAMES}
            try:
                _pass(devices)
                yield devices
            finally:
                for device in devices.values():
                    device.close()
            server.stop()
        finally:
            server.clean_up()
    finally:
        database.stop()


def _pass(devices: dict[str, Oet]) -> None:
    """Let the night come to its middle."""
    first, second, third, fourth = devices.values()
    for _ in range(3):
        _ended(first, "park.py", "anna")
    _ended(first, "calibrate.py", "anna", source="J0437-4715")
    _stopped(first, "bo")
    _ended(first, "park.py", "bo")
    first.proxy.selectedScript = "file://observe.py"
    first.proxy.scriptArguments = json.dumps({"source": "J0437-4715", "pointings": 60})
    _observing(first, "anna", 24)
    _observing(second, "carla", 45)
    _ended(third, "calibrate.py", "dmitri", source="J1939+2134")
    uid = json.loads(fourth.proxy.Prepare(json.dumps({"script": filesystem("observe.py"), "user": "carla"})))["id"]
    fourth.recorder.wait_for_state(uid, "READY")
    for device in devices.values():
        device.settle()
    wait_until(lambda: len(first.proxy.procedureTable) == 8, 30, "the table has all that ran")


def _run(device: Oet, name: str, user: str, **arguments: Any) -> int:
    request = {"script": filesystem(name), "run_args": {"args": [], "kwargs": arguments}, "user": user}
    return int(json.loads(device.proxy.Run(json.dumps(request)))["id"])


def _ended(device: Oet, name: str, user: str, **arguments: Any) -> None:
    device.recorder.wait_for_end(_run(device, name, user, **arguments))


def _observing(device: Oet, user: str, done: int) -> int:
    uid = _run(device, "observe.py", user, done=done)
    reached = f"pointing {done} of"
    wait_until(lambda: str(device.proxy.activeActivity).startswith(reached), 30, f"{device.name} is {reached}")
    wait_until(lambda: f"pointing {done:2} of" in device.proxy.scriptOutput, 30, "its last line is shown")
    return uid


def _stopped(device: Oet, user: str) -> None:
    uid = _observing(device, user, 3)
    device.stop(uid, user=user)
    device.recorder.wait_for_end(uid)
