"""A named reader of the log: of several processes one reads at a time, and keeps how far it has come.

It is the one that holds an advisory lock of the reader's name, which dies with its connection. The checkpoint is fenced
besides: whoever lost its lock without noticing cannot move it, and stops within a second.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import asyncpg

from events.database import Pool, database_gone, load_queries
from events.envelope import RecordedEvent
from events.errors import Fenced, WrongEpoch
from events.log.checkpoints import Checkpoint
from events.log.doorbell import Doorbell
from events.log.follow import Follower
from events.log.log import EventLog
from events.running.tasks import end

POLL_SECONDS = 1.0

Acquire = Callable[[], Awaitable[Checkpoint]]
Take = Callable[[Sequence[RecordedEvent], Checkpoint], Awaitable[None]]


class LogReader:
    """`take` gets every batch after the checkpoint that `acquire` gives, and saves it. If it is `Fenced`, our turn is
    over."""

    def __init__(self, name: str, pool: Pool, doorbell: Doorbell, acquire: Acquire, take: Take) -> None:
        self._name = name
        self._pool = pool
        self._log = EventLog(pool)
        self._doorbell = doorbell
        self._acquire = acquire
        self._take = take
        self._queries = load_queries("events.log", "log.sql")

    async def run(self) -> None:
        """Read whenever it is our turn, until cancelled."""
        while True:
            with contextlib.suppress(Fenced):
                async with self._lock() as lost:
                    checkpoint = await self._acquire()
                    following = asyncio.create_task(self._follow(checkpoint))
                    losing = asyncio.create_task(lost.wait())
                    overtaken = asyncio.create_task(self._overtaken(checkpoint))
                    try:
                        await asyncio.wait((following, losing, overtaken), return_when=asyncio.FIRST_COMPLETED)
                        if following.done():
                            following.result()
                    finally:
                        await end(following, losing, overtaken)

    async def _follow(self, checkpoint: Checkpoint) -> None:
        follower = Follower(self._log, after=checkpoint.position, epoch=checkpoint.epoch, doorbell=self._doorbell)
        try:
            async for batch in follower:
                await self._take(batch, checkpoint)
        except WrongEpoch:
            # A failover or a restore has taken our place back with the log, or there is none in this log.
            if not await self._pool.fetchval(self._queries["is_in_log"], checkpoint.name):
                raise
            raise Fenced("The log is another one now, and the checkpoint was moved with it.") from None

    async def _overtaken(self, checkpoint: Checkpoint) -> None:
        """Until somebody has taken over, which who has nothing to save would not notice."""
        while await self._pool.fetchval(self._queries["fence"], checkpoint.name) == checkpoint.fence:
            await asyncio.sleep(POLL_SECONDS)

    @asynccontextmanager
    async def _lock(self) -> AsyncIterator[asyncio.Event]:
        """Our turn, from the moment that we hold the lock; the event says that its connection is lost."""
        async with self._pool.acquire() as connection:
            lost = asyncio.Event()
            connection.add_termination_listener(lambda _: lost.set())
            lock = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))"
            while not await connection.fetchval(lock, self._name):
                await asyncio.sleep(POLL_SECONDS)
            try:
                yield lost
            finally:
                try:
                    await connection.execute("SELECT pg_advisory_unlock(hashtextextended($1, 0))", self._name)
                except BaseException as error:
                    with contextlib.suppress(asyncpg.InterfaceError):  # the server closed it, so the pool has it back
                        connection.terminate()  # one that still had the lock would keep everybody waiting
                    if not database_gone(error):
                        raise
