"""Spans to a collector, by OTLP over HTTP. Needs the otel extra, imported where it is used."""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .request_spans import Span

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan

PACKAGE = "opentelemetry-exporter-otlp-proto-http"
MISSING = f"traces need the package {PACKAGE}, which is not installed here"
REMEDY = "pip install 'holdfast[otel]'"
TIMEOUT_S = 3


def is_installed() -> bool:
    """Whether the otel extra is there."""
    try:
        return importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False


def traces_url(otlp: str) -> str:
    """Where `otlp`, a collector's address, takes traces: at /v1/traces, unless it has a path."""
    return otlp if urlsplit(otlp).path not in ("", "/") else f"{otlp.rstrip('/')}/v1/traces"


class OtlpExport:
    """One collector. Headers for it, and certificates, are what the environment says
    (OTEL_EXPORTER_OTLP_HEADERS, OTEL_EXPORTER_OTLP_CERTIFICATE)."""

    def __init__(self, otlp: str, fleet: str, host: str | None) -> None:
        """Raises ModuleNotFoundError without the otel extra."""
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        self._exporter = OTLPSpanExporter(endpoint=traces_url(otlp), timeout=TIMEOUT_S)
        self._fleet, self._host = fleet, host or socket.gethostname()
        self._resources: dict[str, Resource] = {}

    def send(self, spans: Sequence[Span]) -> bool:
        """Whether the collector has taken all `spans`. Takes `TIMEOUT_S` at most."""
        from opentelemetry.sdk.trace.export import SpanExportResult

        made = [self._readable(span) for span in spans]
        return self._exporter.export(made) is SpanExportResult.SUCCESS

    def close(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def _readable(self, span: Span) -> ReadableSpan:
        from opentelemetry.sdk.trace import Event, ReadableSpan
        from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

        def context(span_id: int) -> SpanContext:
            sampled = TraceFlags(TraceFlags.SAMPLED)
            return SpanContext(span.trace_id, span_id, is_remote=False, trace_flags=sampled)

        return ReadableSpan(
            name=span.name,
            context=context(span.span_id),
            parent=None if span.parent_id is None else context(span.parent_id),
            resource=self._resource(span.process),
            attributes={f"holdfast.{key}": value for key, value in span.attributes.items()},
            events=[Event(name, timestamp=at_ns) for name, at_ns in span.events],
            kind=SpanKind.INTERNAL,
            status=Status(StatusCode.ERROR, span.error) if span.error else Status(StatusCode.UNSET),
            start_time=span.start_ns,
            end_time=span.end_ns,
        )

    def _resource(self, process: str) -> Resource:
        from opentelemetry.sdk.resources import Resource

        if process not in self._resources:
            self._resources[process] = Resource(
                {
                    "service.namespace": self._fleet,
                    "service.name": process,
                    "host.name": self._host,
                }
            )
        return self._resources[process]
