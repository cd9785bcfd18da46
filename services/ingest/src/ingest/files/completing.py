"""Files that are whole become uploads, each in a task of its own: no request has to live as long as that takes.

Joining and hashing many gigabytes takes longer than anybody waits for an answer. Whoever asks again finds the same
task; on another replica, the file's lock, whose lease is renewed as long as the task runs.
"""

import asyncio
from uuid import UUID

from events.database import load_queries
from events.errors import MillraceError
from events.lifecycle import Parts
from events.running.tasks import end
from ingest.files.completion import FileCompletion
from ingest.files.file import File, file_of
from ingest.files.lock import FileLocks, Locked

# Between looks whether another replica is through.
_LOOK_SECONDS, _SLOWEST_LOOK_SECONDS = 0.1, 2.0
# Each copies in a thread of those that write all bodies, or holds some parts of an object in memory. The others wait.
_AT_ONCE = 4

_Key = tuple[str, UUID]


class FilesCompleting:
    """Those of this replica."""

    def __init__(self, parts: Parts, locks: FileLocks, completion: FileCompletion) -> None:
        self._pool = parts.pool
        self._locks = locks
        self._completion = completion
        self._logger = parts.telemetry.log
        self._tasks: dict[_Key, asyncio.Task[None]] = {}
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._queries = load_queries("ingest", "files/files.sql")

    @property
    def count(self) -> int:
        return len(self._tasks)

    async def wait_for(self, file: File, seconds: float) -> None:
        """Until it is an upload, or for so long. Raises what prevents that, for now."""
        done, _ = await asyncio.wait([self.begin(file.tenant, file.id)], timeout=seconds)
        for task in done:
            task.result()

    def begin(self, tenant: str, id_: UUID) -> asyncio.Task[None]:
        task = self._tasks.get((tenant, id_))
        if task is None:
            task = self._tasks[tenant, id_] = asyncio.create_task(self._complete(tenant, id_))
            task.add_done_callback(lambda task: self._ended((tenant, id_), task))
        return task

    async def close(self) -> None:
        """Another replica does what is left; or we, when we are back."""
        await end(*self._tasks.values())

    async def _complete(self, tenant: str, id_: UUID) -> None:
        pause = _LOOK_SECONDS
        while True:
            try:
                async with self._turns, self._locks.holding(tenant, id_, patience=0) as (file, lock):
                    if file.is_to_complete:
                        await self._completion.complete(file, lock)
                return
            except Locked:
                if not await self._is_to_complete(tenant, id_):
                    return
            await asyncio.sleep(pause)
            pause = min(1.5 * pause, _SLOWEST_LOOK_SECONDS)

    async def _is_to_complete(self, tenant: str, id_: UUID) -> bool:
        row = await self._pool.fetchrow(self._queries["file"], tenant, id_)
        return row is not None and file_of(row).is_to_complete

    def _ended(self, key: _Key, task: asyncio.Task[None]) -> None:
        del self._tasks[key]
        if not task.cancelled() and (failed := task.exception()) is not None:
            reason = failed.detail if isinstance(failed, MillraceError) else repr(failed)
            self._logger.warning("a file waits for its completion", file=str(key[1]), reason=reason)
