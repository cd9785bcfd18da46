"""How many bytes a tenant may upload in a day and in a month of UTC: by the database's clock, and to the last byte.

Bytes are reserved before they are read, in rows that all replicas share, and settled in the transaction that makes the
upload: uploads at the same time can't pass the quota together.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from events.database import DATABASE_GONE, Pool, load_queries
from events.errors import QuotaExceeded
from events.log.log import Connection
from ingest.settings import IngestSettings

RENEW_SECONDS = 15.0

# A body that does not say its length reserves as much ahead as it has sent, but not more than this: so it asks seldom,
# and others miss little meanwhile.
_MOST_AHEAD = 64 * 1024 * 1024
_LASTS_SECONDS = 60.0  # a reservation, unless it is renewed
_UNLIMITED = 2**62
# The rest of a body that we do not want would be read as the next request.
_CLOSE = {"Connection": "close"}


class Quota:
    def __init__(self, pool: Pool, settings: IngestSettings) -> None:
        self._pool = pool
        self._limits = {"day": settings.quota_bytes_per_day, "month": settings.quota_bytes_per_month}
        self._queries = load_queries("ingest", "quota.sql")
        self._on_their_way: set[UUID] = set()
        self.is_set = any(limit is not None for limit in self._limits.values())

    @asynccontextmanager
    async def reserving(self, tenant: str, upload: UUID, length: int | None) -> AsyncIterator[Reservation]:
        """For an upload on its way. What is not settled when the block ends is free again."""
        reservation = Reservation(self, tenant, upload)
        self._on_their_way.add(upload)
        try:
            if length is not None:
                await reservation.cover(length, ahead=False)
            yield reservation
        finally:
            self._on_their_way.discard(upload)
            with contextlib.suppress(*DATABASE_GONE):  # then nobody renews it
                await self.settle(self._pool, upload, 0)

    async def reserve(
        self,
        upload: UUID,
        tenant: str,
        *,
        least: int,
        most: int,
        lasts: float = _LASTS_SECONDS,
        connection: Connection | None = None,
        promised: bool = False,
    ) -> int:
        """How many more bytes there are for it. Raises QuotaExceeded if they are fewer than the least; what was
        promised is only counted."""
        limits = [_UNLIMITED if promised or limit is None else limit for limit in self._limits.values()]
        row = await (connection or self._pool).fetchrow(
            self._queries["reserve"], tenant, upload, least, most, *limits, lasts
        )
        assert row is not None
        if (period := row["violated"]) is not None:
            raise QuotaExceeded(
                f"Your tenant may upload {self._limits[period]} bytes in a {period} of UTC, and this would be more.",
                policies=[f"bytes-per-{period}"],
                retry_after=max(1, math.ceil(row["wait_seconds"])),
                headers=_CLOSE,
            )
        return int(row["granted"])

    async def resumed(self, tenant: str, upload: UUID, lasts: float) -> Reservation:
        """What is reserved for one that takes many requests. It need not be renewed, and is kept when they end."""
        covered = await self._pool.fetchval(self._queries["reserved"], upload)
        return Reservation(self, tenant, upload, covered=covered or 0, lasts=lasts)

    async def settle(self, where: Pool | Connection, upload: UUID, taken: int) -> bool:
        """Count what was taken, and free the rest. False if nothing was reserved."""
        return bool(await where.fetchval(self._queries["settle"], upload, taken))

    async def renew(self) -> bool:
        """Keep the reservations of what is on its way here. True if one was freed that a kill has left behind."""
        await self._pool.execute(self._queries["renew"], list(self._on_their_way), _LASTS_SECONDS)
        return await self._pool.fetchval(self._queries["free_lost"]) is not None


class Reservation:
    def __init__(
        self, quota: Quota, tenant: str, upload: UUID, *, covered: int = 0, lasts: float = _LASTS_SECONDS
    ) -> None:
        self._quota = quota
        self._tenant = tenant
        self._upload = upload
        self._covered = covered
        self._lasts = lasts

    async def cover(self, needed: int, *, ahead: bool = True) -> None:
        """Before as many bytes are taken altogether. Raises QuotaExceeded."""
        missing = needed - self._covered
        if missing > 0:
            most = missing + min(needed, _MOST_AHEAD) if ahead else missing
            self._covered += await self._quota.reserve(
                self._upload, self._tenant, least=missing, most=most, lasts=self._lasts
            )

    async def settle(self, connection: Connection, taken: int, *, promised: bool = False) -> None:
        """In the transaction that makes the upload. If the reservation was lost while we were stopped, this raises
        QuotaExceeded unless there is room now, or the client was promised that these bytes are kept."""
        while not await self._quota.settle(connection, self._upload, taken):
            await self._quota.reserve(
                self._upload, self._tenant, least=taken, most=taken, connection=connection, promised=promised
            )
