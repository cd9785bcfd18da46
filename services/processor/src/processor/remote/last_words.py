"""Takes in the last words of workers: as many as wait, in one statement. One by one, those for one job would wait for
each other's commits, since each posts to it: a map of thousands would end as fast as a disk turns."""

import asyncio
from dataclasses import dataclass
from uuid import UUID

from events.database import Pool, load_queries

_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class LastWord:
    task: UUID
    tenant: str
    job_id: UUID
    worker: str
    said: str  # JSON, for the job
    event_id: UUID


class LastWords:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._query = load_queries("processor", "remote/queries.sql")["ended"]
        self._waiting: list[tuple[LastWord, asyncio.Future[bool]]] = []
        self._taking = asyncio.Lock()

    async def take(self, word: LastWord) -> bool:
        """False if it comes too late, again, or from somebody who does not have the task."""
        counted: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((word, counted))
        async with self._taking:
            if not counted.done():
                batch, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
                await self._take(batch)
        return await counted

    async def _take(self, batch: list[tuple[LastWord, asyncio.Future[bool]]]) -> None:
        words = [word for word, _ in batch]
        try:
            rows = await self._pool.fetch(
                self._query,
                [word.task for word in words],
                [word.tenant for word in words],
                [word.job_id for word in words],
                [word.worker for word in words],
                [word.said for word in words],
                [word.event_id for word in words],
            )
        except asyncio.CancelledError:
            for _, counted in batch:
                counted.cancel()  # the intake as a whole is stopped: they come again
            raise
        except Exception as failed:
            if len(batch) > 1:
                for one in batch:
                    await self._take([one])  # else one that cannot be taken in would take the others with it
            elif not batch[0][1].done():
                batch[0][1].set_exception(failed)
            return
        taken = {row["event_id"] for row in rows}
        for word, counted in batch:
            if not counted.done():
                counted.set_result(word.event_id in taken)
