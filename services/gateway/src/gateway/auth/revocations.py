"""Revocations: told to every replica by the transaction that makes them true."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

from events.database import Pool, database_gone, load_queries
from events.log.log import Connection
from events.running.tasks import end

CHANNEL = "millrace_revoked"
EVERYTHING = "*"

_RECONNECT_SECONDS = 0.2
_BEAT_SECONDS = 0.4

Ended = Callable[[str], None]


class Revocations:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._queries = load_queries("gateway", "tickets/streams.sql")
        self._listeners: set[Ended] = set()
        self._task: asyncio.Task[None] | None = None
        self.trusted = False  # whether what was not heard of has not been revoked

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._listen())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            await end(self._task)

    async def announce(self, connection: Connection, *names: str) -> None:
        """Say what ends, in the transaction that ends it. Its tickets open nothing any more, and nobody comes back to a
        stream that lived by it."""
        await connection.execute(self._queries["end_tickets"], names)
        await connection.execute(self._queries["end_streams"], names)
        for name in names:
            await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, name)

    @contextlib.contextmanager
    def listening(self, ended: Ended) -> Iterator[None]:
        """Called with what has ended; with `*` when we could not listen for a while: everything may have."""
        self._listeners.add(ended)
        try:
            yield
        finally:
            self._listeners.discard(ended)

    def _tell(self, name: str) -> None:
        for ended in tuple(self._listeners):
            ended(name)

    async def _listen(self) -> None:
        def heard(_connection: Any, _pid: int, _channel: str, name: object) -> None:
            self._tell(str(name))

        while True:
            try:
                async with self._pool.acquire() as connection:
                    lost = asyncio.Event()
                    connection.add_termination_listener(lambda _connection, lost=lost: lost.set())
                    await connection.add_listener(CHANNEL, heard)
                    self.trusted = True
                    self._tell(EVERYTHING)
                    try:
                        while not lost.is_set():
                            with contextlib.suppress(TimeoutError):
                                await asyncio.wait_for(lost.wait(), _BEAT_SECONDS)
                            # A server that vanished without a word would leave us trusting for ever.
                            await connection.execute(f"LISTEN {CHANNEL}", timeout=_BEAT_SECONDS)
                    finally:
                        self.trusted = False
                        connection.terminate()  # it may be stuck, and then would not hear an UNLISTEN
            except Exception as error:
                if not database_gone(error):
                    raise
            await asyncio.sleep(_RECONNECT_SECONDS)
