"""Tickets: `mr_tkt_…`, good for one WebSocket within 30 seconds by the database's clock."""

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from events.database import Pool, load_queries
from events.errors import Unauthenticated
from events.identity import Principal
from events.ids import new_id
from gateway.auth.credentials import Identity

GOOD_FOR_SECONDS = 30.0
MAKE_ONE = "Make one with POST /api/v1/auth/tickets."

_PREFIX = "mr_tkt_"
_FORM = "mr_tkt_ and 43 letters, digits, - or _"
_FORMAT = re.compile(rf"{_PREFIX}[A-Za-z0-9_-]{{43}}")


@dataclass(frozen=True, slots=True)
class Ticket:
    text: str = field(repr=False)
    socket: UUID  # what the socket that it opens will be called
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Redeemed:
    identity: Identity
    socket: UUID
    age: float  # seconds since its maker was authenticated


class Tickets:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._queries = load_queries("gateway", "tickets/queries.sql")

    async def make(self, identity: Identity, channels: Sequence[str] | None) -> Ticket:
        text, socket, principal = _PREFIX + secrets.token_urlsafe(32), new_id(), identity.principal
        made_at: datetime = await self._pool.fetchval(
            self._queries["keep_ticket"],
            hash_ticket(text),
            socket,
            principal.tenant,
            principal.subject,
            sorted(principal.scopes),
            channels,
            principal.expires_at,
            sorted(identity.ended_by),
        )
        return Ticket(text, socket, made_at + timedelta(seconds=GOOD_FOR_SECONDS))

    async def redeem(self, text: str) -> Redeemed:
        """Its maker's identity, once. Raises Unauthenticated."""
        return redeemed(await self._pool.fetchrow(self._queries["redeem_ticket"], hash_ticket(text), GOOD_FOR_SECONDS))

    async def sweep(self) -> bool:
        """Forget the expired ones."""
        await self._pool.execute(self._queries["sweep_tickets"], GOOD_FOR_SECONDS)
        return False


def hash_ticket(text: str) -> bytes:
    """What is kept of it. Raises Unauthenticated if it is none."""
    if not _FORMAT.fullmatch(text):
        raise Unauthenticated(f"The ticket is malformed: it is {_FORM}. {MAKE_ONE}")
    return hashlib.sha256(text.encode()).digest()


def redeemed(row: asyncpg.Record | None) -> Redeemed:
    """What was found of a ticket that is used up by that. Raises Unauthenticated."""
    if row is None or not row["fresh"]:
        raise Unauthenticated(f"The ticket is unknown, used or expired. {MAKE_ONE}")
    channels = None if row["channels"] is None else frozenset(row["channels"])
    principal = Principal(
        row["tenant"], row["subject"], frozenset(row["scopes"]), row["credential_expires_at"], channels
    )
    return Redeemed(Identity(principal, frozenset(row["ended_by"])), row["socket"], row["age"])
