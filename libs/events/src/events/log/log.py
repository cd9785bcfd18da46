"""Reading the event log. Positions are dense and in commit order, so a cursor never misses an event."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
import msgspec
from asyncpg.pool import PoolConnectionProxy

from events.database import Pool, load_queries
from events.envelope import RecordedEvent, check_stream

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"


@dataclass(frozen=True, slots=True)
class Head:
    epoch: UUID  # the log's identity: a cursor of another epoch means nothing here
    position: int  # of the newest event


class EventLog:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._queries = load_queries("events.log", "log.sql")

    async def head(self) -> Head:
        row = await self._pool.fetchrow(self._queries["head"])
        assert row is not None
        return Head(epoch=row["epoch"], position=row["position"])

    async def read(self, after: int, limit: int, tenant: str | None = None) -> list[RecordedEvent]:
        """Up to `limit` events after a position; of one tenant, if it is named."""
        if tenant is None:
            rows = await self._pool.fetch(self._queries["read"], after, limit)
        else:
            rows = await self._pool.fetch(self._queries["read_tenant"], after, limit, tenant)
        return [_recorded(row) for row in rows]

    async def read_category(self, tenant: str, category: str, after: int, limit: int) -> list[RecordedEvent]:
        """Up to `limit` events of a tenant's streams `<category>:…` after a position."""
        rows = await self._pool.fetch(self._queries["read_category"], after, limit, tenant, f"{category}:")
        return [_recorded(row) for row in rows]

    async def read_stream(self, tenant: str, stream: str, after: int, limit: int) -> list[RecordedEvent]:
        """Up to `limit` events of a stream after a version."""
        rows = await self._pool.fetch(self._queries["read_stream"], tenant, stream, after, limit)
        return [_recorded(row) for row in rows]

    async def stream_version(self, tenant: str, stream: str) -> int | None:
        """The stream's newest version: 0 if it is only reserved, None if nobody has heard of it."""
        version: int | None = await self._pool.fetchval(self._queries["stream_version"], tenant, stream)
        return version

    async def known(self, event_ids: Sequence[tuple[str, UUID]]) -> set[tuple[str, UUID]]:
        """Which of these (tenant, id) the log holds."""
        tenants, ids = [tenant for tenant, _ in event_ids], [id_ for _, id_ in event_ids]
        rows = await self._pool.fetch(self._queries["known"], tenants, ids)
        return {event_ids[row[0] - 1] for row in rows}

    async def reserve(self, connection: Connection, tenant: str, stream: str) -> None:
        """Promise a stream to a client before its first event, in the transaction of whoever promises it."""
        await connection.execute(self._queries["reserve"], tenant, check_stream(stream))


def _recorded(row: Any) -> RecordedEvent:
    position, version, tenant, stream, id_, type_, source, time, traceparent, data = row
    return RecordedEvent(
        id=id_,
        source=source,
        type=type_,
        subject=stream,
        time=time,
        tenant=tenant,
        data=msgspec.Raw(data),
        traceparent=traceparent,
        version=version,
        position=position,
    )
