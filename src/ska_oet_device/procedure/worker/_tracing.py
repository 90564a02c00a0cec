"""The worker's part of a trace: spans around what is the script's, and the export of all that its process makes.

Without a trace nothing is done; without OpenTelemetry the log and the environment of the process tell its id.  What is
slow to import is imported in the template; no thread comes before the worker's own first span.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from ...trace_context import VARIABLE, is_enabled
from ..messages import Load

PATIENCE = 0.3  # seconds at the end of a process for what the collector has not been sent yet
_EXPORTERS = {
    "http": "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "grpc": "opentelemetry.exporter.otlp.proto.grpc.trace_exporter",
}
_NOISY = ("opentelemetry.exporter", "opentelemetry.sdk")


def prepare_tracing() -> None:
    """Import what spans need, if they are wanted at all.  In the template, which has one thread, and keeps it."""
    if not is_enabled():
        return
    with contextlib.suppress(ImportError):
        import opentelemetry.sdk.trace.export  # noqa: F401
    for kind, _ in _targets():
        with contextlib.suppress(ImportError):
            __import__(_EXPORTERS[kind])


def _targets() -> list[tuple[str, str]]:
    """Return kind and endpoint of each exporter, as PyTango's variables say; not the console, which is the script's."""
    kinds = [item.strip().lower() for item in os.environ.get("TANGO_TELEMETRY_TRACING_EXPORTERS", "").split(",")]
    endpoints = [item.strip() for item in os.environ.get("TANGO_TELEMETRY_TRACING_ENDPOINTS", "").split(",")]
    endpoints += [""] * (len(kinds) - len(endpoints))
    return [(kind, endpoint) for kind, endpoint in zip(kinds, endpoints, strict=False) if kind in _EXPORTERS]


class Tracing:
    """The traces that one worker's requests belong to.  Main thread of the worker."""

    def __init__(self) -> None:
        self._is_enabled = False
        self._provider: Any = None
        self._about: dict[str, Any] = {}
        self._parent = ""

    @property
    def traceparent(self) -> str:
        """That of the request which is being served."""
        return self._parent

    def take_up(self, load: Load) -> None:
        """Begin the work for a script, in the trace of the request that wants it loaded."""
        self._is_enabled = bool(load.process_uid) and is_enabled()
        self._about = {
            "ska_oet.procedure": load.process_uid,
            "ska_oet.run": load.run_id,
            "ska_oet.device": load.device,
            "ska_oet.script": str(load.script.get("script_uri", "")),
        }
        self.follow(load.traceparent)
        self._span_of_main("process for", load.asked)

    def follow(self, traceparent: str) -> None:
        """Be in the trace of another request from now on; empty: in none."""
        self._parent = traceparent
        if traceparent:
            os.environ[VARIABLE] = traceparent
        else:
            os.environ.pop(VARIABLE, None)

    def called(self, traceparent: str, asked: float, fn_name: str) -> None:
        """Be in the trace of the request which wants a function called."""
        self.follow(traceparent)
        self._span_of_main(f"turn for {fn_name} of", asked)

    def _span_of_main(self, what: str, asked: float) -> None:
        """Tell how long main had a request, which itself loads no OpenTelemetry: until now, since it was sent."""
        had_it_until = time.time_ns()  # what follows may take a while, the first time
        if self._parent and asked and (tracer := self._tracer()) is not None:
            span = tracer.start_span(self._name(what), self._context(), start_time=int(asked * 1e9))
            span.set_attributes({**self._about, "ska_oet.process": "main"})
            span.end(had_it_until)

    def _name(self, what: str) -> str:
        return f"{what} {self._about['ska_oet.script']}"

    @contextlib.contextmanager
    def span(self, what: str) -> Iterator[None]:
        """Have what is done in here be a span of the trace, and what Tango does for it a part of that.

        :param what: it is called this, and the script
        """
        begun = self._begin(what)
        if begun is None:
            yield
            return
        span, leave = begun
        try:
            yield
        except BaseException as error:  # the script's failure, which goes on
            self._note(span, error)
            raise
        finally:
            leave()
            self.follow(self._parent)
            span.end()

    def _begin(self, what: str) -> tuple[Any, Callable[[], object]] | None:
        """Return a span that has become the current one, and what makes it that no more; None: there is none."""
        tracer = self._tracer()
        if tracer is None:
            return None
        from opentelemetry import context
        from opentelemetry.trace import set_span_in_context

        span = tracer.start_span(self._name(what), self._context(), attributes=self._about)
        self._tell_children(span)
        return span, functools.partial(context.detach, context.attach(set_span_in_context(span)))

    def _tell_children(self, span: Any) -> None:
        """Have what the script starts be a child of its span, if that is recorded."""
        its = span.get_span_context()
        if its.is_valid:
            os.environ[VARIABLE] = f"00-{its.trace_id:032x}-{its.span_id:016x}-{int(its.trace_flags):02x}"

    def _note(self, span: Any, error: BaseException) -> None:
        if isinstance(error, SystemExit) and error.code in (None, 0):
            return
        from opentelemetry.trace import Status, StatusCode

        with contextlib.suppress(Exception):  # the text of a script's exception is the script's
            span.record_exception(error)
            span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"[:1000]))

    def _context(self) -> Any:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        return TraceContextTextMapPropagator().extract({"traceparent": self._parent} if self._parent else {})

    def _tracer(self) -> Any:
        """Return what makes spans; None where OpenTelemetry is not enabled, or not whole."""
        if not self._is_enabled:
            return None
        if self._provider is None:
            try:
                self._provider = self._new_provider()
            except Exception as error:  # a trace is no reason to fail
                self._is_enabled = False
                if not isinstance(error, ImportError):
                    logging.getLogger(__name__).warning("there is no trace of this process", exc_info=error)
                return None
            self._have_others_use_it()
        return self._provider.get_tracer("ska_oet_device")

    def _new_provider(self) -> Any:
        """Return one whose end is `flush`: OpenTelemetry's own would wait as long as a collector does not answer."""
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        if "PYTANGO_TELEMETRY_SDK_LOG_LEVEL" not in os.environ:
            for name in _NOISY:  # a collector that is away is no matter of the script's, whose output this would be
                logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        named = {
            "service.namespace": "tango",
            "service.name": "OetScript",
            "service.instance.id": self._about["ska_oet.run"],
            "process.pid": os.getpid(),
        }
        # Not Resource.create: it looks through all that is installed, which takes a tenth of a second.
        provider = TracerProvider(resource=Resource(named), shutdown_on_exit=False)
        for kind, endpoint in _targets():
            exporter = __import__(_EXPORTERS[kind], fromlist=["OTLPSpanExporter"]).OTLPSpanExporter
            url = endpoint.replace("grpc://", "http://") if kind == "grpc" else endpoint
            provider.add_span_processor(BatchSpanProcessor(exporter(endpoint=url or None)))
        return provider

    def _have_others_use_it(self) -> None:
        """Have the spans of the script's own, and of its DeviceProxies, be exported with ours."""
        from opentelemetry.trace import set_tracer_provider

        provider = self._provider
        set_tracer_provider(provider)
        tango = sys.modules.get("tango.telemetry")  # loaded by the template, or by the script: never by us
        if tango is not None and hasattr(tango, "set_telemetry_tracer_provider_factory"):
            tango.set_telemetry_tracer_provider_factory(lambda *names, **more: provider)

    def flush(self) -> None:
        """Send the collector what it has not got yet, and wait a moment for that."""
        if self._provider is None:
            return
        thread = threading.Thread(target=self._provider.force_flush, name="last spans", daemon=True)
        thread.start()
        thread.join(PATIENCE)
