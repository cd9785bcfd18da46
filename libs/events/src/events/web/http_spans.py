"""What spans say of HTTP requests, by OpenTelemetry's conventions. Of a query nothing: credentials may be in there."""

from opentelemetry.trace import Span, Status, StatusCode

from events.traces.tracing import Attributes

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# What asks for these asks for ever: without a trace of its own it gets none.
_PUBLIC = ("/ping", "/health", "/health/detailed")
PROBES = frozenset({*_PUBLIC, *(f"/api/v1{path}" for path in _PUBLIC), "/livez", "/readyz", "/statusz", "/metrics"})


def asked(method: str, path: str, scheme: str) -> Attributes:
    return {
        "http.request.method": method if method in METHODS else "_OTHER",
        "url.path": path,
        "url.scheme": scheme,
    }


def answered(span: Span, method: str, route: str | None, status: int | None) -> None:
    """`status`: None if nobody was answered."""
    if not span.is_recording():
        return
    known = method if method in METHODS else "HTTP"
    span.update_name(known if route is None else f"{known} {route}")
    if route is not None:
        span.set_attribute("http.route", route)
    if status is not None:
        span.set_attribute("http.response.status_code", status)
    if status is None or status >= 500:
        span.set_attribute("error.type", str(status) if status is not None else "no answer")
        span.set_status(Status(StatusCode.ERROR))
