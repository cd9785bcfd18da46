"""Blobs that belong to no upload: not yet, or no more. They are noted before they exist, so that a kill at any moment
leaves either an upload with its blob, or a note by which the blob is removed."""

from events.blobs import Blobs
from events.database import Pool, load_queries
from events.errors import Unavailable
from events.log import Connection

_SWEEP_ROWS = 100


class LooseBlobs:
    def __init__(self, pool: Pool, blobs: Blobs, *, older_than: float) -> None:
        self._pool = pool
        self._blobs = blobs
        self._older_than = older_than
        self._queries = load_queries("ingest", "queries.sql")

    async def note(self, key: str) -> None:
        await self._pool.execute(self._queries["note_loose_blob"], key)

    async def give_away(self, connection: Connection, key: str) -> None:
        """In the transaction that makes the blob an upload's. Fails if the sweep was faster."""
        if await connection.fetchval(self._queries["forget_loose_blob"], key) is None:
            raise Unavailable("The upload took too long to be recorded. Send it again.")

    async def remove(self, key: str) -> None:
        await self._blobs.delete(key)
        await self._pool.execute(self._queries["forget_loose_blob"], key)

    async def sweep(self) -> bool:
        """Remove those that were left behind. Returns True if there may be more."""
        async with self._pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(self._queries["take_loose_blobs"], self._older_than, _SWEEP_ROWS)
            for row in rows:
                await self._blobs.delete(row["blob"])
                await connection.execute(self._queries["forget_loose_blob"], row["blob"])
        return len(rows) == _SWEEP_ROWS
