"""Credentials in a WebSocket's query. URLs end up in logs and histories: only what is good once, and soon over, may
stand there."""

from urllib.parse import unquote_plus

from events.errors import Unauthenticated
from gateway.wire.heads import RequestHead

_TICKET = "ticket"
_REFUSED = frozenset(
    {
        "access_token",
        "api-key",
        "api_key",
        "apikey",
        "auth",
        "authorization",
        "bearer",
        "id_token",
        "jwt",
        "key",
        "password",
        "refresh_token",
        "secret",
        "token",
        "x-api-key",
    }
)
_HEADERS = (b"authorization", b"x-api-key")
_OURS = ("mr_live_", "mr_tkt_")


def ticket_of(head: RequestHead) -> str | None:
    """The request's ticket, None if it has none. Raises Unauthenticated, and never repeats what was given."""
    if not head.query:
        return None
    tickets = []
    for name, value in _parameters(head.query):
        if name == _TICKET:
            tickets.append(value)
        elif name in _REFUSED or any(prefix in value for prefix in _OURS):
            raise Unauthenticated(
                "A key or token in a URL ends up in logs, so it is not taken from there. Send it as a header, or make "
                "a ticket with POST /api/v1/auth/tickets and open the WebSocket with ?ticket=<ticket>."
            )
    if len(tickets) > 1 or (tickets and any(name in _HEADERS for name, _ in head.headers)):
        raise Unauthenticated("The request carries more than one credential. Send one.")
    return tickets[0] if tickets else None


def shows_credential(head: RequestHead) -> bool:
    """Whether a WebSocket's request has a ticket or a header of its own that says whose it is."""
    return ticket_of(head) is not None or any(name in _HEADERS for name, _ in head.headers)


def without_ticket(target: bytes) -> bytes:
    """The target, as far as a service may see it."""
    path, mark, query = target.partition(b"?")
    if not mark:
        return target
    kept = [part for part in query.split(b"&") if _name(part) != _TICKET]
    return b"%b?%b" % (path, b"&".join(kept)) if kept else path


def _parameters(query: bytes) -> list[tuple[str, str]]:
    return [(_name(part), unquote_plus(part.partition(b"=")[2].decode("latin-1"))) for part in query.split(b"&")]


def _name(part: bytes) -> str:
    return unquote_plus(part.partition(b"=")[0].decode("latin-1")).strip().lower()
