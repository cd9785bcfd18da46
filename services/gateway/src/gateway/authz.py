"""`GET /authz`: an edge proxy asks before it routes a request itself. Envoy's ext_authz, Traefik's ForwardAuth and
nginx's auth_request each say in their own way which request that is.

What they say decides only what is checked. Who is asking, the credential says.
"""

import re
import time
from dataclasses import replace

from events.errors import BadRequest
from events.identity import PRINCIPAL_HEADER, Principal
from gateway.wire.heads import Headers, RequestHead

_URIS = (b"x-forwarded-uri", b"x-original-uri")
_METHODS = (b"x-forwarded-method", b"x-original-method")
_TARGET = re.compile(rb"/[\x21\x22\x24-\x7e]*")
_METHOD = re.compile(rb"[A-Z]{1,16}")


def original_request(head: RequestHead, prefix: str) -> RequestHead:
    """The request that the edge proxy has. Envoy puts it behind our prefix, the others into headers."""
    targets = {value for name, value in head.headers if name in _URIS}
    if head.path.rstrip("/") != prefix:
        targets.add(head.target[len(prefix) :])
    methods = {value for name, value in head.headers if name in _METHODS} or {head.method}
    if not targets:
        raise BadRequest("Say what is asked for: by X-Forwarded-Uri, by X-Original-URI, or behind this path.")
    if len(targets) > 1 or len(methods) > 1:
        # A client's own header beside the proxy's: we can't know which is which.
        raise BadRequest("The original request is named in two ways that differ. The edge proxy must strip the other.")
    target, method = targets.pop(), methods.pop()
    if not _TARGET.fullmatch(target) or not _METHOD.fullmatch(method):
        raise BadRequest("The original request's method or target is malformed.")
    return RequestHead(method, target, False, head.headers, None, False, frozenset())


def leased(principal: Principal, seconds: float) -> Principal:
    """For a socket that is not ours to end: a revocation ends it by not prolonging it."""
    limit = int(time.time() + seconds)
    return replace(principal, expires_at=min(limit, principal.expires_at or limit))


def verdict(principal: Principal, signed: str) -> Headers:
    return [
        (PRINCIPAL_HEADER.lower().encode(), signed.encode()),
        (b"x-millrace-tenant", principal.tenant.encode("ascii", "backslashreplace")),
        (b"cache-control", b"no-store"),
    ]
