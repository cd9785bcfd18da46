"""What is left behind: files that nobody continues, files that nobody completed, bytes that nobody needs."""

from events.blob_keys import SEGMENTS, segment_of
from events.database import load_queries
from events.errors import MillraceError
from events.lifecycle import Parts
from ingest.files.completion import FileCompletion
from ingest.files.files import Files

_MOST_EXPIRED = 100
_MOST_COMPLETED = 10
_MOST_ORPHANS = 1_000
_FORGET_SECONDS = 7 * 86_400.0  # so long, one that has ended is told from one that never was


class FileSweeps:
    def __init__(self, parts: Parts, files: Files, completion: FileCompletion) -> None:
        self._pool = parts.pool
        self._blobs = parts.blobs
        self._log = parts.telemetry.log
        self._files = files
        self._completion = completion
        self._queries = load_queries("ingest", "files/files.sql")

    async def sweep(self) -> bool:
        """True if there may be more."""
        await self._complete()
        found = await self._pool.fetchrow(self._queries["sweepable"], _FORGET_SECONDS)
        assert found is not None
        more = await self._expire() if found["expired"] else False
        if found["loose"] or found["expired"]:
            more = await self._completion.remove_segments() or more
        if found["forgettable"]:
            await self._pool.execute(self._queries["forget_files"], _FORGET_SECONDS)
        return more

    async def remove_orphans(self) -> bool:
        """Segments that no row knows. A row is there before its segment and goes after it; but who was stopped in the
        middle of a request to the store can make one when it is gone."""
        found: set[str] = set()
        async for key in self._blobs.keys(f"{SEGMENTS}/"):
            found.add(segment_of(key))
            if len(found) == _MOST_ORPHANS:
                await self._remove_unknown(found)
                found.clear()
        await self._remove_unknown(found)
        return False

    async def _remove_unknown(self, found: set[str]) -> None:
        for row in await self._pool.fetch(self._queries["unknown_segments"], list(found)):
            await self._blobs.remove_segment(row["key"])
            self._log.warning("a segment that nobody knows was removed", segment=row["key"])

    async def _expire(self) -> bool:
        for _ in range(_MOST_EXPIRED):
            if await self._pool.fetchval(self._queries["expire_file"]) is None:
                return False
        return True

    async def _complete(self) -> None:
        for row in await self._pool.fetch(self._queries["left_whole"], _MOST_COMPLETED):
            try:
                await self._files.settled(row["tenant"], row["id"])
            except MillraceError as failed:  # the others may succeed
                self._log.warning("a file waits for its completion", file=str(row["id"]), reason=failed.detail)
