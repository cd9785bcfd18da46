"""What is left behind: files that nobody continues, files that nobody completed, bytes that nobody needs."""

from events.blobs.keys import SEGMENTS, segment_of
from events.database import load_queries
from events.lifecycle import Parts
from ingest.files.completing import FilesCompleting
from ingest.files.completion import FileCompletion

_MOST_EXPIRED = 100
_MOST_COMPLETING = 10  # at once
_MOST_ORPHANS = 1_000
_FORGET_SECONDS = 7 * 86_400.0  # so long, one that has ended is told from one that never was


class FileSweeps:
    def __init__(self, parts: Parts, completing: FilesCompleting, completion: FileCompletion) -> None:
        self._pool = parts.pool
        self._blobs = parts.blobs
        self._log = parts.telemetry.log
        self._completing = completing
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
        room = max(0, _MOST_COMPLETING - self._completing.count)
        for row in await self._pool.fetch(self._queries["left_whole"], room):
            self._completing.begin(row["tenant"], row["id"])
