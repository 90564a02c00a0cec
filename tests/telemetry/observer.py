"""A client that asks a device for things within one span of its own; prints the trace's id, and the procedure's.

Runs in .venv-telemetry: ``python observer.py DEVICE COMMAND JSON...``; Start is of the procedure before it.
"""

from __future__ import annotations

import json
import sys

import tango
from opentelemetry import trace
from tango.telemetry import get_telemetry_tracer_provider_factory

device, *asked = sys.argv[1:]
uid = 0
provider = get_telemetry_tracer_provider_factory()("observer")
with provider.get_tracer("observer").start_as_current_span("observation"):
    proxy = tango.DeviceProxy(device)
    for command, text in zip(asked[::2], asked[1::2], strict=True):
        request = json.loads(text)
        if command == "Start":
            request.setdefault("process_uid", uid)
        uid = json.loads(proxy.command_inout(command, json.dumps(request)))["id"]
    print(f"{trace.get_current_span().get_span_context().trace_id:032x}", uid, flush=True)
provider.shutdown()
