"""What sockets live by whose credential expires: rows, so that any replica can have a socket refreshed. Each row has a
holder, and is gone with it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from events.database import Pool, database_gone, load_queries
from events.errors import NotFound
from events.ids import new_id
from gateway.auth.credentials import Identity
from gateway.auth.revocations import Revocations
from gateway.sockets.socket import Socket

CHANGED = "socket:"  # announced like a revocation: the terms of the socket of this id have changed

_DEAD_SECONDS = 60.0  # that a holder was not seen: about six sweeps
_LETTING_GO_SECONDS = 1.0


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
        self._holder = new_id()

    async def keep(self, socket: Socket) -> Lease:
        """Hold it, and let it be refreshed through any replica. Returns by what it lives: what it was refreshed with
        meanwhile counts."""
        tenant, subject, scopes, _, ended_by = _columns(socket.identity)
        terms = tenant, subject, scopes, socket.expires_at, ended_by
        row = await self._pool.fetchrow(self._queries["keep_socket"], socket.id, self._holder, socket.opening, *terms)
        assert row is not None
        return _lease(row)

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
        return None if row is None else _lease(row)

    async def hold_on(self) -> bool:
        """Say that we are there. True, the first time that we say it, if what is held here was forgotten: we could not
        be seen for long, or the database has crashed."""
        forgotten: bool = await self._pool.fetchval(self._queries["hold_on"], self._holder, _DEAD_SECONDS)
        return forgotten

    async def forget(self, closed: Sequence[Socket]) -> None:
        """Of what has closed or expired, and of whoever is not there any more."""
        ids, openings = [socket.id for socket in closed], [socket.opening for socket in closed]
        await self._pool.execute(self._queries["forget_sockets"], ids, openings)
        await self._pool.execute(self._queries["forget_expired"])
        await self._pool.execute(self._queries["forget_holders"], self._holder, _DEAD_SECONDS)

    async def aclose(self) -> None:
        """Let go of all that is held here. If the database is away, the others will see that we are gone."""
        try:
            async with asyncio.timeout(_LETTING_GO_SECONDS):
                await self._pool.execute(self._queries["let_go"], self._holder)
        except Exception as error:
            if not database_gone(error):
                raise


def _lease(row: asyncpg.Record) -> Lease:
    return Lease(row["expires_at"], frozenset(row["ended_by"]), max(0.0, row["age"]))


def _columns(identity: Identity) -> tuple[str, str, list[str], int | None, list[str]]:
    principal = identity.principal
    return (
        principal.tenant,
        principal.subject,
        sorted(principal.scopes),
        principal.expires_at,
        sorted(identity.ended_by),
    )
