"""How far each group of subscribers has come, and what it has parked."""

from __future__ import annotations

from uuid import UUID

import asyncpg

from events.database import Pool, load_queries
from events.errors import NotFound
from events.log.checkpoints import Checkpoint, as_fenced
from events.log.log import Connection

SUBSCRIBER = "subscriber"


class Subscription:
    """The checkpoint `subscriber.<group>`. What moves it raises `Fenced` if that is done already, or not ours to do."""

    def __init__(self, pool: Pool, group: str) -> None:
        self._pool = pool
        self._group = group
        self._queries = load_queries("events.log", "log.sql")

    async def begin(self, after: int | None) -> None:
        """After a position, or from now on. Does nothing if the group has begun already."""
        await self._pool.execute(self._queries["begin_subscription"], self._group, after)

    async def acquire(self) -> Checkpoint:
        row = await self._pool.fetchrow(self._queries["acquire_subscription"], self._group)
        assert row is not None
        return Checkpoint(**row)

    async def save(self, checkpoint: Checkpoint, position: int, connection: Connection | None = None) -> None:
        await self._move(connection, "save_subscription", self._group, checkpoint.fence, position)

    async def park(self, checkpoint: Checkpoint, position: int) -> None:
        """Move on past what could not be handled."""
        await self._move(None, "park", self._group, checkpoint.fence, position)

    async def is_parked(self, epoch: UUID, position: int) -> bool:
        return bool(await self._pool.fetchval(self._queries["is_parked"], self._group, epoch, position))

    async def unpark(self, position: int, connection: Connection | None = None) -> None:
        """It was handled at last."""
        await self._move(connection, "unpark", self._group, position)

    async def replay(self, after: int) -> None:
        """Everything after a position comes again, to whoever reads now too."""
        if not await self._pool.fetchval(self._queries["replay"], self._group, after):
            raise NotFound(f"There is no group {self._group} that has begun, or no position {after} in the log yet.")

    async def _move(self, connection: Connection | None, query: str, *arguments: object) -> None:
        try:
            await (connection or self._pool).execute(self._queries[query], *arguments)
        except asyncpg.PostgresError as error:
            raise as_fenced(error) or error from None
