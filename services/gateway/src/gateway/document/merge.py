"""One OpenAPI document, made of what each service says of itself and of what the door does with every request."""

from collections.abc import Mapping
from copy import deepcopy
from importlib.metadata import version
from typing import Any

from events.errors import (
    BadRequest,
    Forbidden,
    InternalError,
    InvalidInput,
    QuotaExceeded,
    RequestTimeout,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from events.web.openapi import PROBLEM_JSON, Responses, problems
from gateway.upstreams import OWN, Route, Routes
from gateway.wire.heads import HeadTooLarge

Document = dict[str, Any]

_DESCRIPTION = """\
Send a file; a durable job works on it; everyone who may know sees every step live.

Authentication is an API key or an access token: `Authorization: Bearer <key or token>`, or `X-API-Key: <key>`. Errors
are problem details (RFC 9457) with a stable `code`, the `request_id`, and `errors[]` that name the wrong fields. Lists
are `{"items": […], "next_cursor": …}`: give `next_cursor` as `cursor` (of events: as `after`) for the next page.
Commands that create take an `Idempotency-Key`. `/pipelines`, `/health` and `/ping` answer at the root and under
`/api/v1`.

What is told over WebSockets, server-sent events and AMQP is in [AsyncAPI](/api/v1/asyncapi.json).
"""
_HEADERS: Mapping[str, tuple[str, str]] = {
    "X-Request-ID": ("The request's id; yours, if you gave one.", "4f1c9a8e2b7d4a53b1de0c6f4a2b9e77"),
    "RateLimit-Policy": ("The limits that this request counts for.", '"read-subject";q=200;w=2'),
    "RateLimit": ("What is left of the limit that is nearest.", '"read-subject";r=199;t=1'),
}
_RETRY = {
    "description": "Seconds until it is worth another try.",
    "schema": {"type": "string", "pattern": "^[0-9]+$"},
    "example": "1",
}
_ANYWHERE = (BadRequest, InvalidInput, QuotaExceeded, HeadTooLarge, RequestTimeout, InternalError, Unavailable)


def merged(services: Mapping[str, Document], routes: Routes) -> Document:
    """Of each service, what the door lets through to it."""
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
    schemes: dict[str, Any] = {}
    for service, given in services.items():
        document = deepcopy(given)
        components = document.get("components", {})
        _rename_clashing(document, components.get("schemas", {}), schemas, service)
        schemas |= components.get("schemas", {})
        schemes |= components.get("securitySchemes", {})
        for path, operations in document["paths"].items():
            route = routes.find(path)
            if route.service == service:
                paths[path] = {
                    method: _at_the_door(method, operation, route) for method, operation in operations.items()
                }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Millrace", "version": version("millrace-gateway"), "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": schemes,
            "headers": {
                name: {"description": description, "schema": {"type": "string"}, "example": example}
                for name, (description, example) in _HEADERS.items()
            }
            | {"Retry-After": _RETRY},
        },
    }


def _at_the_door(method: str, operation: Document, route: Route) -> Document:
    """The operation with what the door may answer instead of the service."""
    responses = operation["responses"]
    for status, response in _refusals(method, route).items():
        content = responses.setdefault(str(status), response).setdefault("content", {})
        mine = response["content"][PROBLEM_JSON]
        theirs = content.setdefault(PROBLEM_JSON, mine)["examples"]
        theirs.update(mine["examples"] | theirs)
    for status, response in responses.items():
        names = [*_HEADERS, *(["Retry-After"] if status in ("429", "503") else [])]
        headers = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
        response["headers"] = headers | response.get("headers", {})
    return operation | {"responses": dict(sorted(responses.items()))}


def _refusals(method: str, route: Route) -> Responses:
    kinds = [*_ANYWHERE]
    if not route.public:
        kinds += [Unauthenticated, Forbidden]
    if route.service != OWN:
        kinds += [UpstreamUnavailable, UpstreamTimeout]
    if method not in ("get", "head", "options"):
        kinds += [TooLarge]
    return problems(*kinds)


def _rename_clashing(document: Document, mine: dict[str, Any], taken: Mapping[str, Any], service: str) -> None:
    """Two services may mean different things by one name."""
    clashing = {name for name, schema in mine.items() if taken.get(name, schema) != schema}
    for name in clashing:
        mine[f"{service.title()}{name}"] = mine.pop(name)
    if clashing:
        _rename_references(document, {f"#/components/schemas/{name}": service.title() for name in clashing})


def _rename_references(node: Any, prefixes: Mapping[str, str]) -> None:
    match node:
        case {"$ref": str(name)} if name in prefixes:
            place, _, short = name.rpartition("/")
            node["$ref"] = f"{place}/{prefixes[name]}{short}"
        case dict():
            for part in node.values():
                _rename_references(part, prefixes)
        case list():
            for part in node:
                _rename_references(part, prefixes)
