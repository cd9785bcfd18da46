"""What clients can do about their WebSockets besides opening them."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from fastapi import Response
from pydantic import BaseModel, ConfigDict, Field

from events.envelope import STREAM_PATTERN
from events.errors import NotFound
from events.web.openapi import DescribedRoutes, example, problems
from events.web.shapes import Shape
from gateway.auth.credentials import IdentityOf
from gateway.sockets.sockets import Sockets
from gateway.tickets.channels import MOST_CHANNELS, checked_channels
from gateway.tickets.tickets import Tickets

Channel = Annotated[str, Shape(STREAM_PATTERN, "a channel: <category>:<id>, such as job:<id>")]


class TicketWish(BaseModel):
    model_config = ConfigDict(extra="forbid")

    channels: Annotated[list[Channel], Field(min_length=1, max_length=MOST_CHANNELS)] | None = Field(
        default=None,
        description="The only channels that the socket may follow; all of the tenant's without it.",
        examples=[["job:01a1fbea-6fbc-7335-a459-98abf90680e7"]],
    )


class TicketMade(BaseModel):
    ticket: str = Field(description="Open one WebSocket with `?ticket=…`. It is shown only here.")
    expires_at: datetime
    socket: UUID = Field(description="What the socket will be called: to refresh it before its credential expires.")
    channels: list[str] | None


class SocketTerms(BaseModel):
    socket: UUID
    expires_at: datetime | None = Field(description="When its credential expires now; null for never.")


_MADE = TicketMade(
    ticket="mr_tkt_…",
    expires_at=datetime(2026, 11, 21, 2, 24, 1, tzinfo=UTC),
    socket=UUID("01a1fbec-51c6-7a0e-9b3d-4e2f8c7a6b10"),
    channels=["job:01a1fbea-6fbc-7335-a459-98abf90680e7"],
)
_TERMS = SocketTerms(socket=_MADE.socket, expires_at=datetime(2026, 11, 21, 2, 33, 27, tzinfo=UTC))


def ticket_routes(tickets: Tickets, sockets: Sockets) -> DescribedRoutes:
    routes = DescribedRoutes(prefix="/api/v1/auth", tags=["sockets"])

    @routes.post(
        "/tickets",
        status_code=201,
        responses=example(_MADE, status=201),
    )
    async def make(identity: IdentityOf, response: Response, wish: TicketWish | None = None) -> TicketMade:
        """Make a ticket: it opens one WebSocket within 30 seconds, as you, for who cannot send headers."""
        given = wish.channels if wish is not None else None
        channels = None if given is None else checked_channels(given, identity.principal)
        ticket = await tickets.make(identity, channels)
        response.headers["Cache-Control"] = "no-store"
        return TicketMade(ticket=ticket.text, expires_at=ticket.expires_at, socket=ticket.socket, channels=channels)

    @routes.post("/sockets/{socket}/refresh", responses=example(_TERMS) | problems(NotFound))
    async def refresh(identity: IdentityOf, socket: UUID) -> SocketTerms:
        """Keep a socket open beyond its credential's expiry: it lives by the one that you send now."""
        await sockets.refresh(socket, identity)
        expiry = identity.principal.expires_at
        return SocketTerms(socket=socket, expires_at=None if expiry is None else datetime.fromtimestamp(expiry, UTC))

    return routes
