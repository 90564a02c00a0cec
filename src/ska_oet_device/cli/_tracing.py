"""One span for a call of `oet`, of whose trace all that it asks Tango for is a part; if PyTango traces at all.

The program ends without Python's own end, so that spans have to be sent before.
"""

from __future__ import annotations

import threading
from typing import Any

from ..trace_context import is_enabled

PATIENCE = 0.3  # seconds for a collector

_begun: list[tuple[Any, Any]] = []  # the span, and who exports it


def begin_trace(name: str) -> None:
    """Begin the span of this call; nothing where the extra `telemetry` is not installed or not enabled."""
    if not is_enabled() or _begun:
        return
    try:
        from opentelemetry import context, trace
        from tango import telemetry
    except ImportError:
        return
    provider = telemetry.get_telemetry_tracer_provider_factory()("oet")
    telemetry.set_telemetry_tracer_provider_factory(lambda *names, **more: provider)  # for DeviceProxy's own spans
    span = provider.get_tracer("oet").start_span(name)
    context.attach(trace.set_span_in_context(span))
    _begun.append((span, provider))


def end_trace() -> None:
    """End the span, and wait a moment until what was traced is sent."""
    for span, provider in _begun:
        span.end()
        flush = getattr(provider, "force_flush", None)
        if flush is not None:
            thread = threading.Thread(target=flush, name="last spans", daemon=True)
            thread.start()
            thread.join(PATIENCE)
    _begun.clear()
