"""One request as it goes through the door, and the record of how it went."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from time import perf_counter

from opentelemetry.trace import Span

from events.metrics.metrics import Bounded, exemplar
from events.telemetry import Telemetry
from events.web.http_spans import answered
from events.web.web import accepted_request_id
from gateway.limits.headers import UNLIMITED
from gateway.wire.heads import RequestHead
from gateway.wire.tracing import traceparent_of

# To name a request's trace costs three times what it costs to count the request: of quick ones some will do.
_SLOW_SECONDS, _SECONDS_BETWEEN = 0.1, 0.1
_STATUSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
CLIENT_CLOSED = 499  # what is recorded where nobody was left to be answered


@dataclass(slots=True)
class Request:
    head: RequestHead
    id: str
    traceparent: bytes
    route: str = "unmatched"  # the route's prefix: paths hold ids, and a label must be bounded
    tenant: str | None = None
    address: str = "local"  # of whom its limits by address count
    sealed_address: bytes = b""  # the same for the service behind a socket, which can't read it
    limits: bytes = b""  # what its answer says of them: header lines, empty while nothing was counted
    terms: bytes = b""  # what its answer says besides: header lines for other origins, of the version
    wants_events: bool = False  # its client comes again where a stream ends, and never where it is refused
    span: Span | None = None  # None unless somebody collects them
    served: bool = False  # a service or our own app has answered, and logs it under the same request id
    began: float = field(default_factory=perf_counter)

    @property
    def said(self) -> bytes:
        """The header lines of its answer that are the door's."""
        return (self.limits or UNLIMITED) + self.terms


def arrived(head: RequestHead) -> Request:
    given = head.header(b"x-request-id")
    return Request(
        head,
        accepted_request_id(given.decode("latin-1") if given else None),
        traceparent_of(head.header(b"traceparent")),
    )


Record = Callable[[Request | None, int], None]  # the request, None if its head was malformed, and the answer's status


def recorder(telemetry: Telemetry) -> Record:
    requests = telemetry.counter(
        "millrace_gateway_requests_total",
        "Requests at the door by route and status. 499: the client left before it was answered.",
        ["route", "method", "status"],
    )
    seconds = telemetry.histogram(
        "millrace_gateway_request_duration_seconds",
        "Time from a request's head to the end of its answer.",
        ["route", "method"],
    )
    of_tenants = telemetry.counter(
        "millrace_gateway_tenant_requests_total",
        "Requests with a credential, by whose it is.",
        {"tenant": [Bounded.OTHER], "status": _STATUSES},
    )

    counted, timed, counted_of = cache(requests.labels), cache(seconds.labels), cache(of_tenants.labels)
    tenants = Bounded()
    log = telemetry.log.bind()
    next_example = 0.0

    def record(request: Request | None, status: int) -> None:
        nonlocal next_example
        if request is None:
            counted("malformed", "OTHER", status).inc()
            return
        method = request.head.method.decode()
        now = perf_counter()
        elapsed = now - request.began
        example = None
        if elapsed > _SLOW_SECONDS or now > next_example:
            example = exemplar(request.traceparent.decode())
            if example is not None:
                next_example = now + _SECONDS_BETWEEN
        counted(request.route, method, status).inc()
        timed(request.route, method).observe(elapsed, example)
        if request.tenant is not None:
            counted_of(tenants(request.tenant), _STATUSES[min(status // 100, 5) - 1]).inc()
        if request.span is not None:
            answered(request.span, method, None if request.route == "unmatched" else request.route, status)
            request.span.end()
        if request.served:
            return  # one line is enough: it costs more than all the rest of a request does here
        # The path without its query: credentials may be in there.
        log.debug(
            "request",
            method=method,
            path=request.head.path,
            status=status,
            ms=round(elapsed * 1000, 2),
            request_id=request.id,
            tenant=request.tenant,
            trace_id=request.traceparent[3:35].decode(),
        )

    return record
