"""How far each named reader of the log has come."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import asyncpg

from events.database import Pool, load_queries
from events.errors import Fenced
from events.log.log import Connection

FENCED = "MR001"  # the SQLSTATE of a save by somebody who no longer has the checkpoint


@dataclass(frozen=True, slots=True)
class Checkpoint:
    name: str
    position: int  # everything up to here has had its effect
    epoch: UUID  # of the log that the position belongs to
    fence: int  # rises each time that somebody takes over


class Checkpoints:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._queries = load_queries("events.log", "log.sql")

    async def acquire(self, name: str) -> Checkpoint:
        """Take the checkpoint over: from now on, saves of whoever had it are refused."""
        row = await self._pool.fetchrow(self._queries["acquire_checkpoint"], name)
        assert row is not None
        return Checkpoint(**row)

    async def save(self, checkpoint: Checkpoint, position: int, *, connection: Connection | None = None) -> None:
        """Move the checkpoint; with its effect, if the connection's transaction is given. Raise `Fenced` if somebody
        else has taken over."""
        arguments = (self._queries["save_checkpoint"], checkpoint.name, checkpoint.fence, position)
        try:
            await (connection or self._pool).execute(*arguments)
        except asyncpg.PostgresError as error:
            raise as_fenced(error) or error from None


def as_fenced(error: Exception) -> Fenced | None:
    """The error as a refused save, if it is one."""
    if isinstance(error, asyncpg.PostgresError) and error.sqlstate == FENCED:
        return Fenced(str(error))
    return None
