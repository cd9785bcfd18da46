"""The connections that append: each has recognised the log first, or appends nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from asyncpg.prepared_stmt import PreparedStatement

from events.database import Pool, load_queries
from events.log.batch import ARGUMENT_TYPES, AppendRequest, append_arguments
from events.log.checkpoints import Checkpoint

_CONNECT_SECONDS = 10.0

# What an append meets while somebody restores over the log by hand, which ends no connection.
REPLACED = (asyncpg.UndefinedTableError, asyncpg.UndefinedFunctionError, asyncpg.InvalidSchemaNameError)


@dataclass(slots=True)
class Known:
    """How far the log has come, as we have seen it. It may come back shorter, from a standby that had not heard all."""

    epoch: UUID | None = None
    position: int = 0
    doubts: int = 0  # rises when each connection must look again

    def recognised(self, epoch: UUID) -> None:
        if epoch != self.epoch:
            self.epoch, self.position = epoch, 0


class Lane:
    """A connection that is kept, with the append function prepared."""

    def __init__(self, pool: Pool, function: str, known: Known) -> None:
        self._pool = pool
        self._function = function
        self._known = known
        self._queries = load_queries("events.log", "log.sql")
        self._connection: PoolConnectionProxy[asyncpg.Record] | None = None
        self._statements: dict[int, PreparedStatement[asyncpg.Record]] = {}  # by the number of arguments
        self._doubts = 0  # how many there were when this connection looked

    async def call(self, requests: Sequence[AppendRequest], saving: tuple[Checkpoint, int] | None) -> asyncpg.Record:
        arguments = append_arguments(requests)
        if saving is not None:
            checkpoint, position = saving
            arguments += (checkpoint.name, checkpoint.fence, position)
        if self._doubts != self._known.doubts:
            await self.disconnect()
        statement = self._statements.get(len(arguments)) or await self._prepare(len(arguments))
        row = await statement.fetchrow(*arguments)
        assert row is not None
        self._known.position = max(self._known.position, row["accepted_to"])
        return row

    async def disconnect(self) -> None:
        connection, self._connection = self._connection, None
        self._statements.clear()
        if connection is not None:
            await self._drop(connection)

    async def doubt(self) -> None:
        """It may be another log behind the same connections: no lane appends before it has looked again."""
        self._known.doubts += 1
        await self.disconnect()

    async def _connect(self) -> PoolConnectionProxy[asyncpg.Record]:
        """Nothing is appended on a connection whose log was not recognised."""
        known = self._known
        self._doubts = known.doubts
        connection = await self._pool.acquire(timeout=_CONNECT_SECONDS)
        try:
            await connection.execute(self._queries["prepare_appends"])
            known.recognised(await connection.fetchval(self._queries["recognise"], known.epoch, known.position))
        except BaseException:
            await self._drop(connection)
            raise
        return connection

    async def _drop(self, connection: PoolConnectionProxy[asyncpg.Record]) -> None:
        with contextlib.suppress(asyncpg.InterfaceError):  # the server closed it, so the pool has it back already
            connection.terminate()
        await self._pool.release(connection)

    async def _prepare(self, argument_count: int) -> PreparedStatement[asyncpg.Record]:
        if self._connection is None:
            self._connection = await self._connect()
        types = (*ARGUMENT_TYPES, "text", "bigint", "bigint")[:argument_count]
        places = ", ".join(f"${place}::{type_}" for place, type_ in enumerate(types, 1))
        call = f"SELECT * FROM {self._function}({places})"  # noqa: S608 - the function is the programmer's
        statement = await self._connection.prepare(call)
        self._statements[argument_count] = statement
        return statement
