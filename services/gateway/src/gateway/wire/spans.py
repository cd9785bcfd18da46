"""The span of a request at the door: from its head to the end of its answer, or until it is a tunnel."""

from opentelemetry.trace import SpanKind

from events.traces.tracing import Tracing, traceparent_of
from events.web.http_spans import PROBES, asked
from gateway.wire.requests import Request


def begin_span(tracing: Tracing, request: Request) -> None:
    """Services go on from it. Of a request that begins again it goes on."""
    given = request.head.header(b"traceparent")
    nobodys = given is None and request.head.path in PROBES
    if nobodys or request.span is not None or not tracing.collected:
        return
    method = request.head.method.decode()
    request.span = tracing.begin(
        method,
        traceparent=None if given is None else given.decode("latin-1"),
        kind=SpanKind.SERVER,
        attributes=asked(method, request.head.path, "http"),
    )
    request.traceparent = traceparent_of(request.span.get_span_context()).encode()
