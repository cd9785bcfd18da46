"""A wake-up call, never the truth: it says that the log, or what else the channel is about, may have grown. Listeners
poll as well, so that a ring may get lost."""

import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from events.database import Pool, database_gone, load_queries
from events.running.tasks import end

LOG_CHANNEL = "millrace_log"

_RECONNECT_SECONDS = 0.5
# A busy log rings all the time, and a ring costs a transaction: more often than this wakes nobody earlier.
_REST_SECONDS = 0.005


class Doorbell:
    """Listens on a connection of its own, and rings after commits. A ring is a statement of its own: inside the
    append's transaction, NOTIFY would hold a lock that the whole server shares until the commit is on disk."""

    def __init__(self, pool: Pool, channel: str = LOG_CHANNEL) -> None:
        self._pool = pool
        self._channel = channel
        self._ring_statement = load_queries("events.log", "log.sql")["ring"]
        self._listeners: set[asyncio.Event] = set()
        self._wanted = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._send_rings())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await end(*self._tasks)

    def ring(self) -> None:
        """Say that something was committed. Returns at once; rings that come close together are one."""
        self._wake()  # those in this process need not wait for Postgres to tell them
        self._wanted.set()

    @contextmanager
    def listening(self) -> Iterator[asyncio.Event]:
        """An event that every ring sets; who waits for it clears it."""
        rung = asyncio.Event()
        self._listeners.add(rung)
        try:
            yield rung
        finally:
            self._listeners.discard(rung)

    def _wake(self, *_: Any) -> None:
        for listener in self._listeners:
            listener.set()

    async def _listen(self) -> None:
        while True:
            try:
                async with self._pool.acquire() as connection:
                    lost = asyncio.Event()
                    connection.add_termination_listener(lambda _connection, lost=lost: lost.set())
                    await connection.add_listener(self._channel, self._wake)
                    self._wake()  # whatever was rung while we were away
                    try:
                        await lost.wait()
                    finally:
                        if not connection.is_closed():
                            await connection.remove_listener(self._channel, self._wake)
            except Exception as error:
                if not database_gone(error):
                    raise
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _send_rings(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            with contextlib.suppress(Exception):
                await self._pool.execute(self._ring_statement, self._channel)
            await asyncio.sleep(_REST_SECONDS)
