"""Which path goes to which service."""

from dataclasses import dataclass

OWN = "gateway"


@dataclass(frozen=True, slots=True)
class Route:
    prefix: str  # the path itself, and everything below it
    service: str
    public: bool = False  # answers without a credential
    sockets: bool = False  # takes WebSockets
    scope: str | None = None  # what the credential must allow; what else it needs, the service decides
    sent_as: str | None = None  # what the service knows the prefix as, if not by that name


UPSTREAMS = (
    Route("/api/v1/uploads", "ingest"),
    Route("/api/v1/files", "ingest"),
    Route("/api/v1/jobs", "processor"),
    Route("/api/v1/workflows", "processor"),
    Route("/api/v1/events", "processor"),
    Route("/api/v1/streams", "processor"),
    Route("/api/v1/admin", "processor"),
    Route("/api/v1/pipelines", "processor", public=True),
    Route("/pipelines", "processor", public=True, sent_as="/api/v1/pipelines"),
    Route("/api/v1/ws", "notifier", sockets=True),
    Route("/ws", "notifier", sockets=True),
    Route("/api/v1/connection", "notifier", sockets=True),
    Route("/connection", "notifier", sockets=True),
    Route("/api/v1/auth/me", OWN),
    Route("/api/v1/auth/invitations", OWN),
    Route("/metrics", OWN, scope="ops"),
)

# The gateway's own app answers what is not above: its endpoints, and 404 for everything else.
_OWN = Route("", OWN, public=True)


class Routes:
    def __init__(self, table: tuple[Route, ...]) -> None:
        self._by_prefix = {route.prefix: route for route in table}

    def find(self, path: str) -> Route:
        """The route with the longest prefix of whole segments."""
        while path:
            route = self._by_prefix.get(path)
            if route is not None:
                return route
            path = path.rpartition("/")[0]
        return _OWN
