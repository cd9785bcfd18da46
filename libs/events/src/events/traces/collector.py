"""Where spans go: to the OTLP collector that the standard settings name, and without secrets."""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Status

from events.errors import StartupError
from events.traces.masking import masked, masked_path, masked_value
from events.traces.settings import setting_of_traces

_PROTOCOL = "http/protobuf"


def provider_of(service: str) -> TracerProvider | None:
    """None if the collector is asked for in a protocol that we do not speak."""
    protocol = setting_of_traces("PROTOCOL") or _PROTOCOL
    if protocol != _PROTOCOL:
        structlog.stdlib.get_logger(service).warning("no spans are sent", protocol=protocol, spoken=_PROTOCOL)
        return None
    try:
        # What the settings say of the resource counts before what we do.
        resource = Resource.create({"service.name": f"millrace-{service}"}).merge(OTELResourceDetector().detect())
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(_Masking(OTLPSpanExporter())))
    except ValueError as wrong:
        raise StartupError(f"A setting of traces (OTEL_…) is not usable: {wrong}.") from None
    return provider


class _Masking(SpanExporter):
    """In the exporter's own thread, and for every span, whoever made it: an exception's message may hold anything."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._exporter.export([_masked(span) for span in spans])

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _masked(span: ReadableSpan) -> ReadableSpan:
    return ReadableSpan(
        masked_value(span.name),
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=_all_masked(span.attributes),
        events=[Event(event.name, _all_masked(event.attributes), event.timestamp) for event in span.events],
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code, masked_value(span.status.description)),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _all_masked(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        name: masked(name, masked_path(value) if name == "url.path" else value)
        for name, value in (attributes or {}).items()
    }
