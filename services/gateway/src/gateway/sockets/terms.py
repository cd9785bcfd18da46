"""What sockets live by whose credential expires: rows, so that any replica can have a socket refreshed."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from events.database import Pool, load_queries
from events.errors import NotFound
from gateway.auth.credentials import Identity
from gateway.auth.revocations import Revocations
from gateway.sockets.socket import Socket

CHANGED = "socket:"  # announced like a revocation: the terms of the socket of this id have changed


@dataclass(frozen=True, slots=True)
class Lease:
    """By what a socket lives, and until when."""

    expires_at: int | None
    ended_by: frozenset[str]
    age: float  # seconds since that was known


class Terms:
    def __init__(self, pool: Pool, revocations: Revocations) -> None:
        self._pool = pool
        self._revocations = revocations
        self._queries = load_queries("gateway", "sockets/terms.sql")

    async def keep(self, socket: Socket) -> None:
        """Let it be refreshed through any replica. What does not expire needs no terms."""
        if socket.identity.principal.expires_at is not None:
            await self._pool.execute(self._queries["keep_socket"], socket.id, *_columns(socket.identity))

    async def refresh(self, socket_id: UUID, identity: Identity) -> None:
        tenant, subject, scopes, expires_at, ended_by = _columns(identity)
        async with self._pool.acquire() as connection, connection.transaction():
            found = await connection.fetchval(
                self._queries["refresh_socket"], socket_id, tenant, subject, scopes, expires_at, ended_by
            )
            if found is None:
                raise NotFound(
                    "You have no such open WebSocket that could expire, or this credential may do less than the one "
                    "that opened it."
                )
            await connection.execute(self._queries["refresh_stream"], socket_id, expires_at, ended_by)
            await self._revocations.announce(connection, f"{CHANGED}{socket_id}")

    async def read(self, socket_id: UUID) -> Lease | None:
        row = await self._pool.fetchrow(self._queries["socket_terms"], socket_id)
        return None if row is None else Lease(row["expires_at"], frozenset(row["ended_by"]), row["age"])

    async def forget(self, closed: Sequence[UUID]) -> None:
        await self._pool.execute(self._queries["forget_sockets"], closed)


def _columns(identity: Identity) -> tuple[str, str, list[str], int | None, list[str]]:
    principal = identity.principal
    return (
        principal.tenant,
        principal.subject,
        sorted(principal.scopes),
        principal.expires_at,
        sorted(identity.ended_by),
    )
