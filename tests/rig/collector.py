"""A collector that takes OpenTelemetry's three signals over HTTP, and may fail or hang."""

import gzip
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import attrs
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

PATIENCE_S = 15.0


def plain(attributes: Any) -> dict[str, Any]:
    """Return attributes as a mapping."""
    found: dict[str, Any] = {}
    one: KeyValue
    for one in attributes:
        found[one.key] = getattr(one.value, one.value.WhichOneof("value") or "string_value")
    return found


@attrs.define
class Collector:
    """What has come so far."""

    port: int = 0
    status: int = 200
    """What it answers."""
    content_type: str = "application/x-protobuf"
    """Of its answers, which hold nothing."""
    hangs: threading.Event | None = None
    """Until this is set nothing is answered."""
    requests: list[tuple[str, Mapping[str, str]]] = attrs.field(factory=list)
    """Path and headers of each, whatever was answered."""
    resources: list[Mapping[str, Any]] = attrs.field(factory=list)
    spans: list[Span] = attrs.field(factory=list)
    metrics: list[Metric] = attrs.field(factory=list)
    lines: list[LogRecord] = attrs.field(factory=list)
    _came: threading.Condition = attrs.field(factory=threading.Condition)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def take(self, path: str, body: bytes) -> None:
        with self._came:
            self._take(path, body)
            self._came.notify_all()

    def _take(self, path: str, body: bytes) -> None:
        if path == "/v1/traces":
            for traces in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.resources.append(plain(traces.resource.attributes))
                for spans in traces.scope_spans:
                    self.spans.extend(spans.spans)
        elif path == "/v1/metrics":
            for metrics in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                self.resources.append(plain(metrics.resource.attributes))
                for ones in metrics.scope_metrics:
                    self.metrics.extend(ones.metrics)
        elif path == "/v1/logs":
            for logs in ExportLogsServiceRequest.FromString(body).resource_logs:
                self.resources.append(plain(logs.resource.attributes))
                for lines in logs.scope_logs:
                    self.lines.extend(lines.log_records)
        else:
            raise AssertionError(f"nobody sends to {path}")

    def wait_for(self, holds: Callable[[], bool]) -> None:
        """Wait until what has come so far makes something hold."""
        with self._came:
            assert self._came.wait_for(holds, PATIENCE_S), f"never came; {self.names()}"

    def span(self, name: str) -> Span:
        """Wait for the span of this name, of which there is one."""
        with self._came:
            came = self._came.wait_for(lambda: name in self.names(), PATIENCE_S)
            assert came, f"never came: {name}; {self.names()}"
            [span] = [span for span in self.spans if span.name == name]
            return span

    def children(self, of: Span) -> dict[str, Span]:
        """Return the spans below one, by name."""
        return {span.name: span for span in self.spans if span.parent_span_id == of.span_id}

    def names(self) -> list[str]:
        return [span.name for span in self.spans]


@contextmanager
def collecting(port: int = 0) -> Iterator[Collector]:
    """Run a collector on a port of this machine."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status = collector.status  # Who sees the request may change it for the next one.
            collector.requests.append((self.path, dict(self.headers.items())))
            if collector.hangs is not None:
                collector.hangs.wait(PATIENCE_S)
            if status == 200:
                zipped = self.headers.get("content-encoding") == "gzip"
                collector.take(self.path, gzip.decompress(body) if zipped else body)
            self.send_response(status)
            self.send_header("content-type", collector.content_type)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    collector.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield collector
    finally:
        if collector.hangs is not None:
            collector.hangs.set()
        server.shutdown()
        server.server_close()
        thread.join()
