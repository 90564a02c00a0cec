"""An OTLP collector: takes what exporters send by HTTP, decodes it, and writes a line of JSON for each span.

Runs in .venv-telemetry: ``python collector.py FILE``; its first line on standard output is its port.
"""

from __future__ import annotations

import gzip
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

FILE = Path(sys.argv[1])
LOCK = threading.Lock()


def text_of(value: Any) -> Any:
    return getattr(value, value.WhichOneof("value")) if value.WhichOneof("value") else None


def attributes_of(item: Any) -> dict[str, Any]:
    return {each.key: text_of(each.value) for each in item.attributes}


def spans_in(data: bytes) -> list[dict[str, Any]]:
    request = ExportTraceServiceRequest.FromString(data)
    return [
        {
            "service": attributes_of(resource.resource).get("service.name"),
            "pid": attributes_of(resource.resource).get("process.pid"),
            "name": span.name,
            "trace": span.trace_id.hex(),
            "span": span.span_id.hex(),
            "parent": span.parent_span_id.hex(),
            "begin": span.start_time_unix_nano,
            "end": span.end_time_unix_nano,
            "failed": span.status.code == 2,
            "message": span.status.message,
            "attributes": attributes_of(span),
        }
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            data = gzip.decompress(data)
        lines = "".join(json.dumps(span) + "\n" for span in spans_in(data))
        with LOCK, FILE.open("a") as file:
            file.write(lines)
        answer = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()
