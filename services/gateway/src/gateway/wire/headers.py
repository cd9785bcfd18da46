"""Which headers pass the door, inwards and outwards."""

from gateway.wire.heads import Headers, RequestHead

_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)

# Credentials end here. Who a request comes from is ours to say, and where it came from nobody's: services
# trust only the signed principal. What frames and names a request is written anew.
_NOT_INWARDS = _HOP_BY_HOP | {
    b"authorization",
    b"x-api-key",
    b"forwarded",
    b"x-real-ip",
    b"x-client-ip",
    b"x-cluster-client-ip",
    b"true-client-ip",
    b"via",
    b"host",
    b"content-length",
    b"traceparent",
    b"x-request-id",
}
_NOT_INWARDS_PREFIXES = (
    b"x-forwarded-",
    b"x-millrace-",
    b"x-original-",
    b"x-rewrite-",
    b"x-socket-",
    b"x-envoy-",
    b"x-authenticated-",
)
# What limits an answer, which pages may read it, and what keeps it safe in a browser is ours to say.
_NOT_OUTWARDS = _HOP_BY_HOP | {
    b"content-length",
    b"deprecation",
    b"ratelimit",
    b"ratelimit-policy",
    b"referrer-policy",
    b"server",
    b"strict-transport-security",
    b"sunset",
    b"x-content-type-options",
    b"x-request-id",
    b"x-socket-id",
}
_NOT_OUTWARDS_PREFIXES = (b"x-millrace-", b"x-ratelimit-", b"access-control-")

# Of what was answered to somebody: a cache on the way keeps it for nobody else.
PRIVATE = (b"cache-control", b"private, no-cache")

# In a browser, nothing of ours is run, framed or taken for something else; but a page of ours may have its own policy.
SAFE = b"x-content-type-options: nosniff\r\nreferrer-policy: no-referrer\r\n"
SAFE_ALONE = b"%bcontent-security-policy: default-src 'none'; frame-ancestors 'none'\r\n" % SAFE


def inwards(head: RequestHead) -> Headers:
    """A client's headers, as far as a service may see them."""
    dropped = _with(_NOT_INWARDS, head.connection)
    return [
        (name, value)
        for name, value in head.headers
        # A name with an underscore reads as one with a hyphen in too many places.
        if name not in dropped and not name.startswith(_NOT_INWARDS_PREFIXES) and b"_" not in name
    ]


def outwards(headers: Headers, connection: frozenset[bytes] = frozenset()) -> Headers:
    """An answer's headers, as far as a client may see them."""
    dropped = _with(_NOT_OUTWARDS, connection)
    return [
        (name, value) for name, value in headers if name not in dropped and not name.startswith(_NOT_OUTWARDS_PREFIXES)
    ]


def _with(dropped: frozenset[bytes], named: frozenset[bytes]) -> frozenset[bytes]:
    """Mostly, `Connection` names nothing that is not dropped anyway."""
    return dropped if named <= dropped else dropped | named


def encode(headers: Headers) -> bytes:
    return b"".join([b"%b: %b\r\n" % header for header in headers])
