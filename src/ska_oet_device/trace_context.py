"""The trace that a request belongs to, as plain text: a `traceparent` of the W3C's Trace Context.

Pure: what OpenTelemetry does with it is for the device server and the workers, where it is installed.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping

VARIABLE = "TRACEPARENT"
"""The variable of the environment that has it, for what a script starts."""


class Requested(threading.local):
    """The traceparent of the request that this thread is serving; empty: it belongs to none, or there is no request."""

    traceparent = ""


requested = Requested()
"""Set where a request meets Tango, taken along where it leaves for main."""

_FORM = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
_YES = {"on", "1", "true", "yes", "y"}


def trace_id(traceparent: str) -> str:
    """Return the id of a trace, 32 digits; empty where the text is no traceparent."""
    found = _FORM.fullmatch(traceparent)
    return found[1] if found else ""


def is_enabled(environment: Mapping[str, str] = os.environ) -> bool:
    """Say whether Tango is told to trace what it does, as PyTango understands it."""
    if environment.get("TANGO_TELEMETRY_ENABLE", "").lower() not in _YES:
        return False
    types = {item.strip().upper() for item in environment.get("TANGO_TELEMETRY_TYPES", "").split(",")} - {""}
    return not types or "NONE" in types or "TRACING" in types
