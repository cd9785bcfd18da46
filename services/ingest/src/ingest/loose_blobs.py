"""Blobs that belong to no upload: not yet, or no more. They are noted before they exist, so that a kill at any moment
leaves either an upload with its blob, or a note by which the blob is removed."""

from events.blobs.removing import remove_each
from events.database import load_queries
from events.errors import Unavailable
from events.lifecycle import Parts
from events.log.log import Connection

_SWEEP_ROWS = 100


class LooseBlobs:
    def __init__(self, parts: Parts, *, older_than: float) -> None:
        self._pool = parts.pool
        self._blobs = parts.blobs
        self._log = parts.telemetry.log
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
        rows = await self._pool.fetch(self._queries["loose_blobs"], self._older_than, _SWEEP_ROWS)
        all_gone = await remove_each(
            self._pool,
            self._log,
            [(row["blob"],) for row in rows],
            self._blobs.delete,
            lock=self._queries["lock_loose_blob"],
            forget=self._queries["forget_loose_blob"],
        )
        return len(rows) == _SWEEP_ROWS and all_gone
