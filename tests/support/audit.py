"""The audit of a device, which may be a moment behind its answers."""

from __future__ import annotations

import json
from typing import Any

import tango

from .waiting import wait_until


def requests_since(proxy: tango.DeviceProxy, began: float, count: int = 1) -> list[dict[str, Any]]:
    """Return the newest entries of the audit, the newest first, as soon as so many are of what was asked since `began`.

    A device answers without what a commit that takes more than half a second has not written yet.

    :param began: in Unix seconds
    """

    def found() -> list[dict[str, Any]]:
        newest: list[dict[str, Any]] = json.loads(proxy.Requests(json.dumps({"limit": count})))
        return newest if len(newest) == count and all(entry["time"] >= began for entry in newest) else []

    return wait_until(found, 20, f"the audit has what was asked ({count})")
