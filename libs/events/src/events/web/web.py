"""What every service's HTTP side does the same way: request ids, spans, metrics, principals, problems."""

import re
import secrets
from collections.abc import Callable
from time import perf_counter
from typing import Annotated, Any

import structlog
from fastapi import Depends, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.security import APIKeyHeader, HTTPBearer
from opentelemetry.trace import SpanKind
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from events.database import DATABASE_GONE, database_gone
from events.envelope import encode_json
from events.errors import (
    BadRequest,
    FieldError,
    Forbidden,
    InternalError,
    InvalidInput,
    MethodNotAllowed,
    MillraceError,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from events.identity import PRINCIPAL_HEADER, Principal, PrincipalSigner
from events.lifecycle import Loops, Parts
from events.metrics.metrics import exemplar
from events.telemetry import Telemetry
from events.traces.tracing import uncollected
from events.web.http_spans import METHODS, PROBES, answered, asked
from events.web.openapi import PROBLEM_JSON, DescribedApp
from events.web.status import Facts, Status, version_of

# A caller's request id is kept when it is harmless in a log and a header, else replaced.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._~:-]{1,128}")


def new_app(
    parts: Parts,
    *,
    title: str,
    running: Loops | None = None,
    draining: Callable[[], bool] = lambda: False,
    facts: Facts | None = None,
    openapi_url: str | None = "/openapi.json",
) -> DescribedApp:
    """An app that answers every error as a problem, and has `/livez`, `/readyz`, `/statusz` and `/metrics`. It is not
    ready while it is draining. `facts` are what its status says besides."""
    status = Status(parts, running, draining, facts)
    app = DescribedApp(title, openapi_url)
    for kind in (MillraceError, RequestValidationError, HTTPException, *DATABASE_GONE, Exception):
        app.add_exception_handler(kind, _answer_problem)

    @app.get("/livez", include_in_schema=False)
    async def live() -> dict[str, bool]:
        return {"live": True}

    @app.get("/readyz", include_in_schema=False)
    async def ready(response: Response) -> dict[str, str]:
        is_ready, found = await status.ready()
        if not is_ready:
            response.status_code, response.headers["Retry-After"] = 503, "1"
        return found

    @app.get("/statusz", include_in_schema=False)
    async def report() -> dict[str, Any]:
        return await status.report()

    @app.get("/metrics", include_in_schema=False)
    async def metrics(request: Request) -> Response:
        text, media_type = await parts.telemetry.metrics.told(request.headers.get("accept", ""))
        return Response(text, media_type=media_type)

    parts.telemetry.metrics.describe(parts.name, version_of(parts.name))
    app.state.signer, app.state.status = parts.signer, status
    app.add_middleware(RequestContext, telemetry=parts.telemetry)
    return app


# What a route depends on is async, all of it: else each dependency of each request would go through a thread, and on a
# busy machine each such detour waits its turn.

# The gateway has read the credential before; these only tell in OpenAPI how it is sent.
_KEY = Security(APIKeyHeader(name="X-API-Key", scheme_name="key", auto_error=False))
_TOKEN = Security(HTTPBearer(scheme_name="token", description="An API key or an access token.", auto_error=False))


async def credential(_key: Annotated[object, _KEY], _token: Annotated[object, _TOKEN]) -> None:
    """A dependency of whatever needs one."""


async def principal_of(request: Request, _: Annotated[None, Depends(credential)]) -> Principal:
    signer: PrincipalSigner = request.app.state.signer
    principal = signer.verify(request.headers.get(PRINCIPAL_HEADER, ""))
    structlog.contextvars.bind_contextvars(tenant=principal.tenant)
    return principal


PrincipalOf = Annotated[Principal, Depends(principal_of)]


def require(*scopes: str) -> Any:
    """A dependency: the principal, if it has one of the scopes."""

    async def check(principal: PrincipalOf) -> Principal:
        if principal.scopes.isdisjoint(scopes):
            raise Forbidden(f"This needs the scope {' or '.join(scopes)}, which your credential does not have.")
        return principal

    return Security(check, scopes=scopes)


class RequestContext:
    """Gives each request its id, span, log line and metrics."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app = app
        self._telemetry = telemetry
        self._requests = telemetry.counter(
            "millrace_http_requests_total", "HTTP requests by route and status.", ["method", "route", "status"]
        )
        self._seconds = telemetry.histogram(
            "millrace_http_request_duration_seconds",
            "Time from the request's head to the end of its response.",
            ["method", "route"],
        )
        self._in_progress = telemetry.gauge(
            "millrace_http_requests_in_progress", "HTTP requests that are being answered."
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        request_id = accepted_request_id(headers.get(b"x-request-id"))
        scope.setdefault("state", {})["request_id"] = request_id
        status: int | None = None

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        began = perf_counter()
        traceparent = headers.get(b"traceparent") or (uncollected() if scope["path"] in PROBES else None)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        with self._telemetry.span(
            scope["method"],
            traceparent=traceparent,
            kind=SpanKind.SERVER if scope["server"] is not None else SpanKind.INTERNAL,  # it is our own door that asks
            attributes=asked(scope["method"], scope["path"], scope["scheme"]),
        ) as span:
            self._in_progress.inc()
            try:
                await self._app(scope, receive, send_with_id)
            except Exception:
                status = status or 500  # it is answered further out
                raise
            finally:
                self._in_progress.dec()
                elapsed = perf_counter() - began
                route = _route_of(scope)
                answered(span, scope["method"], None if route == _UNMATCHED else route, status)
                method = scope["method"] if scope["method"] in METHODS else "OTHER"
                self._requests.labels(method, route, status or _NOBODY_LEFT).inc()
                self._seconds.labels(method, route).observe(elapsed, exemplar())
                self._telemetry.log.debug(
                    "request", method=method, path=scope["path"], status=status, ms=round(elapsed * 1000, 2)
                )


_NOBODY_LEFT = 499  # as at the gateway
_UNMATCHED = "unmatched"


def _route_of(scope: Scope) -> str:
    """The route's template: paths hold ids, and a label must be bounded."""
    return getattr(scope.get("route"), "path", _UNMATCHED)


def accepted_request_id(given: str | None) -> str:
    return given if given is not None and _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)


def problem_body(error: MillraceError, *, instance: str, request_id: str) -> bytes:
    """The error as RFC 9457 problem details."""
    problem: dict[str, Any] = {
        "type": error.problem_type or f"urn:millrace:problem:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "instance": instance,
        "code": error.code,
        "request_id": request_id,
        **error.members,
    }
    if error.errors:
        problem["errors"] = [{"field": e.field, "code": e.code, "detail": e.detail} for e in error.errors]
    return encode_json(problem)


# What pydantic says in terms of its own.
_CLEARER = {"model_attributes_type": "Send a JSON object, with Content-Type: application/json."}


def _detail(error: dict[str, Any]) -> str:
    if "pattern" in error.get("ctx", {}):  # of no `Shape`: a regular expression is no answer
        return "This has another form than the OpenAPI document asks for, at /docs."
    if error["type"] == "json_invalid":
        return f"This is no JSON: {error['ctx']['error']} at character {error['loc'][-1]}."
    if error["type"] == "value_error":  # a sentence of ours
        said = str(error["ctx"]["error"]).rstrip(".")
        return f"{said[:1].upper()}{said[1:]}."
    return _CLEARER.get(error["type"]) or str(error["msg"])


def as_millrace_error(raised: Exception) -> MillraceError:
    """What a client may know of an exception."""
    match raised:
        case MillraceError():
            return raised
        case RequestValidationError():
            errors = [FieldError(_place(e), e["type"], _detail(e)) for e in raised.errors()]
            return InvalidInput("; ".join(f"{e.field}: {e.detail}" for e in errors), errors=errors)
        case HTTPException(status_code=404):
            return NotFound("There is nothing at this path.")
        case HTTPException(status_code=405):
            return MethodNotAllowed("This path does not take that method.", headers=raised.headers)
        case HTTPException(status_code=401):
            return Unauthenticated(raised.detail)
        case HTTPException(status_code=400):
            detail = "The body is not JSON that can be read here. It may be compressed, too deep, or of another kind."
            return BadRequest(detail, errors=[FieldError("body", "unreadable", detail)])
        case HTTPException():
            return BadRequest(raised.detail)
        case _ if database_gone(raised):
            return Unavailable("The database does not answer now. Try again.", headers={"Retry-After": "1"})
        case _:
            return InternalError("Something went wrong on our side. The request id finds it in the logs.")


def _place(error: dict[str, Any]) -> str:
    if error["type"] == "json_invalid":  # whose location is a character
        return str(error["loc"][0])
    first, *others = error["loc"]
    return str(first) + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in others)


async def _answer_problem(request: Request, raised: Exception) -> Response:
    return _problem_response(raised, request.url.path, request.state.request_id)


def _problem_response(raised: Exception, path: str, request_id: str) -> Response:
    error = as_millrace_error(raised)
    if error.status >= 500:
        structlog.stdlib.get_logger("web").error("request failed", path=path, exc_info=raised)
    body = problem_body(error, instance=path, request_id=request_id)
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
    return Response(body, status_code=error.status, media_type=PROBLEM_JSON, headers={**headers, **error.headers})
