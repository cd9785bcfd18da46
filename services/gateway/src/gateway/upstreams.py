"""Which path goes to which service."""

from collections.abc import Sequence
from dataclasses import dataclass

OWN = "gateway"
AUTHZ = "authz"  # answered at the door, for who asks before routing by himself

Limited = tuple[str, str]  # the classes of limits/policy.py that reads and writes belong to

_READS = frozenset({b"GET", b"HEAD", b"OPTIONS"})
_PUBLIC = ("public", "public")
_AUTH = ("auth", "auth")
_EVENTS = "/api/v1/connection/sse"


@dataclass(frozen=True, slots=True)
class Route:
    prefix: str  # the path itself, and everything below it
    service: str
    public: bool = False  # answers without a credential
    tells_options: bool = False  # answers OPTIONS without a credential
    sockets: bool = False  # takes WebSockets
    streams: bool = False  # answers with a stream of events, which is counted and ended like a socket
    centrifugo: bool = False  # whose clients may show their credential in their first command
    scope: str | None = None  # what the credential must allow; what else it needs, the service decides
    sent_as: str | None = None  # what the service knows the prefix as, if not by that name
    limited: Limited | None = ("read", "write")  # None: costs nobody anything

    def open_to(self, method: bytes) -> bool:
        """Whether it answers without a credential."""
        return self.public or (self.tells_options and method == b"OPTIONS")

    def limited_as(self, method: bytes) -> str | None:
        if self.limited is None:
            return None
        return self.limited[method not in _READS]


UPSTREAMS = (
    Route("/api/v1/uploads", "ingest", limited=("read", "upload")),
    Route("/api/v1/files", "ingest", tells_options=True, limited=("read", "upload")),
    Route("/files", "ingest", tells_options=True, limited=("read", "upload"), sent_as="/api/v1/files"),
    Route("/api/v1/jobs", "processor"),
    Route("/api/v1/clean", "processor", limited=("read", "clean")),
    Route("/clean", "processor", limited=("read", "clean"), sent_as="/api/v1/clean"),
    Route("/api/v1/workflows", "processor"),
    Route("/api/v1/recipes", "processor"),
    Route("/api/v1/schedules", "processor"),
    Route("/api/v1/events", "processor"),
    Route("/api/v1/streams", "processor"),
    Route("/api/v1/admin", "processor"),
    Route("/api/v1/pipelines", "processor", public=True, limited=_PUBLIC),
    Route("/pipelines", "processor", public=True, limited=_PUBLIC, sent_as="/api/v1/pipelines"),
    Route("/api/v1/ws", "notifier", sockets=True, limited=("ws", "ws")),
    Route("/ws", "notifier", sockets=True, limited=("ws", "ws")),
    Route("/api/v1/connection", "notifier", sockets=True, limited=("connection", "connection")),
    Route("/connection", "notifier", sockets=True, limited=("connection", "connection")),
    *(
        Route(path, "notifier", sockets=True, streams=True, limited=("connection", "connection"), sent_as=_EVENTS)
        for path in ("/connection/sse", _EVENTS)
    ),
    *(
        Route(path, "notifier", sockets=True, centrifugo=True, limited=("connection", "connection"))
        for path in ("/connection/websocket", "/api/v1/connection/websocket")
    ),
    Route("/api/v1/auth/register", OWN, public=True, limited=_AUTH),
    Route("/api/v1/auth/login", OWN, public=True, limited=_AUTH),
    Route("/api/v1/auth/refresh", OWN, public=True, limited=_PUBLIC),
    Route("/api/v1/keys", OWN, scope="keys:admin"),
    Route("/api/v1/auth/me", OWN),
    Route("/api/v1/auth/invitations", OWN),
    Route("/api/v1/auth/tickets", OWN),
    Route("/api/v1/auth/sockets", OWN),
    Route("/api/v1/authz", AUTHZ, public=True, limited=None),  # counted as what is asked for
    Route("/authz", AUTHZ, public=True, limited=None),
    *(
        Route(path, OWN, scope="ops", limited=None)
        for path in ("/metrics", "/statusz", "/health/detailed", "/api/v1/health/detailed")
    ),
    *(
        Route(prefix + path, OWN, public=True, limited=None)
        for prefix in ("", "/api/v1")
        for path in ("/ping", "/health", "/livez", "/readyz")
    ),
)

# The gateway's own app answers what is not above: its endpoints, and 404 for everything else.
_OWN = Route("", OWN, public=True, limited=_PUBLIC)


class Routes:
    def __init__(self, table: Sequence[Route]) -> None:
        self._by_prefix = {route.prefix: route for route in table}

    def find(self, path: str) -> Route:
        """The route with the longest prefix of whole segments."""
        while path:
            route = self._by_prefix.get(path)
            if route is not None:
                return route
            path = path.rpartition("/")[0]
        return _OWN
