"""The trace that a command belongs to while it is served: PyTango knows it, if the extra `telemetry` is installed."""

from __future__ import annotations

from collections.abc import Callable

from ...trace_context import is_enabled


def _by_opentelemetry() -> Callable[[], str] | None:
    """Return what asks OpenTelemetry; None where it is not installed, or not enabled: nothing is asked for then."""
    if not is_enabled():
        return None
    try:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
    except ImportError:
        return None
    propagator = TraceContextTextMapPropagator()

    def traceparent() -> str:
        carrier: dict[str, str] = {}
        propagator.inject(carrier)
        return carrier.get("traceparent", "")

    return traceparent


traceparent_now = _by_opentelemetry()
"""Returns the traceparent of the span that is current in this thread, empty if there is none; None: nobody traces."""
