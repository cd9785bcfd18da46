"""What time it is. The database's clock decides: replicas' clocks may be wrong."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeAlias

from events.database import Pool, load_queries

Clock: TypeAlias = Callable[[], Awaitable[datetime]]


def clock_of(pool: Pool) -> Clock:
    query = load_queries("processor", "schedules/queries.sql")["now"]

    async def now() -> datetime:
        told: datetime = await pool.fetchval(query)
        return told.astimezone(UTC)

    return now
