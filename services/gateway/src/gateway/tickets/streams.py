"""What lets a browser come back to a stream that a ticket has opened. `EventSource` asks for the same URL again, where
the ticket is used up by then: so the first answer sets a cookie, and both together are as good as the ticket was.

Who finds the URL in a log has no cookie. A revocation forgets the stream in its own transaction.
"""

import asyncio
import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from events.database import Pool, load_queries
from events.identity import Principal
from gateway.auth.credentials import Identity
from gateway.tickets import tickets
from gateway.tickets.tickets import Redeemed, hash_ticket, redeemed
from gateway.wire.heads import Headers, RequestHead

# A stream that was lost may be opened again for so long.
GOOD_FOR_SECONDS = 3600.0

_PREFIX = "millrace_stream_"
_COOKIE = re.compile(rb"(?:^|;)[ \t]*(millrace_stream_[0-9a-f]{16})=([A-Za-z0-9_-]{43})[ \t]*(?=;|$)")
# More than a browser keeps open. Cookies of pages that are gone stay, and come with each request.
_MOST_COOKIES = 20


@dataclass(frozen=True, slots=True)
class Cookies:
    """What a browser has shown of streams that it had."""

    name: str  # of the one that goes with this request's ticket
    shown: dict[str, str]

    @classmethod
    def of(cls, head: RequestHead, ticket: str) -> "Cookies":
        lines = [value for name, value in head.headers if name == b"cookie"]
        shown = {name.decode(): value.decode() for line in lines for name, value in _COOKIE.findall(line)}
        return cls(_PREFIX + hashlib.sha256(ticket.encode()).hexdigest()[:16], shown)

    @property
    def secret(self) -> str | None:
        return self.shown.get(self.name)

    @property
    def forgotten(self) -> list[str]:
        """The oldest come first."""
        return [name for name in self.shown if name != self.name][: -(_MOST_COOKIES - 1)]


class Streams:
    def __init__(self, pool: Pool, *, https_only: bool) -> None:
        self._pool = pool
        self._queries = load_queries("gateway", "tickets/streams.sql")
        self._secure = "; Secure" if https_only else ""
        self._forgetting: set[asyncio.Task[str]] = set()

    async def begin(self, head: RequestHead, ticket: str) -> tuple[Redeemed, Headers]:
        """Use the ticket up, and let its browser come back, by these headers of whatever it is answered. Raises
        Unauthenticated."""
        cookies, secret = Cookies.of(head, ticket), secrets.token_urlsafe(32)
        row = await self._pool.fetchrow(
            self._queries["begin_stream"], hash_ticket(ticket), _hash(ticket, secret), tickets.GOOD_FOR_SECONDS
        )
        begun = redeemed(row)
        terms = f"; Path={head.path}; HttpOnly; SameSite=Strict{self._secure}"
        made = [f"{cookies.name}={secret}{terms}", *(f"{name}=; Max-Age=0{terms}" for name in cookies.forgotten)]
        return begun, [(b"set-cookie", cookie.encode()) for cookie in made]

    async def find(self, head: RequestHead, ticket: str) -> Redeemed | None:
        """The stream that this browser had opened with the ticket."""
        secret = Cookies.of(head, ticket).secret
        if secret is None:
            return None
        row = await self._pool.fetchrow(self._queries["find_stream"], _hash(ticket, secret), GOOD_FOR_SECONDS)
        if row is None:
            return None
        channels = None if row["channels"] is None else frozenset(row["channels"])
        principal = Principal(
            row["tenant"], row["subject"], frozenset(row["scopes"]), row["credential_expires_at"], channels
        )
        return Redeemed(Identity(principal, frozenset(row["ended_by"])), row["socket"], 0.0)

    def forget(self, socket: UUID) -> None:
        """Its credential was revoked: maybe before we have kept it, so that the revocation has not seen it."""
        task = asyncio.create_task(self._pool.execute(self._queries["forget_stream"], socket))
        self._forgetting.add(task)
        task.add_done_callback(self._forgetting.discard)

    async def sweep(self, still_open: Sequence[UUID]) -> bool:
        """Keep those that are open, and forget those that nobody came back to."""
        await self._pool.execute(self._queries["see_streams"], still_open)
        await self._pool.execute(self._queries["sweep_streams"], GOOD_FOR_SECONDS)
        return False


def _hash(ticket: str, secret: str) -> bytes:
    return hashlib.sha256(f"{ticket} {secret}".encode()).digest()
