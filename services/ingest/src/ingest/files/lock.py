"""One request at a time stores bytes of a file: whoever has the lock, on whichever replica.

The lock is a row with a lease, so that no connection to the database is held while a body arrives. Whoever wants it
says so there; its holder sees that when it renews, stops, records what it has, and lets go. The holder of a lease that
has ended is fenced out by the token of its successor.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from events.database import DATABASE_GONE, Pool, load_queries
from events.errors import Gone, MillraceError, Unavailable
from events.ids import new_id
from ingest.files.file import File, file_of

LEASE_SECONDS = 1.5
RENEW_SECONDS = 0.5
PATIENCE_SECONDS = 2.0
_POLL_SECONDS, _SLOWEST_POLL_SECONDS = 0.05, 0.5
_LAST_SECONDS = 2.0  # of our grace, to record what has come and to say so


class Locked(MillraceError):
    code, status, title, retryable = "locked", 423, "Locked", True


class FileLock:
    def __init__(self, tenant: str, id_: UUID, token: int) -> None:
        self.tenant = tenant
        self.id = id_
        self.token = token
        self.interrupted = False  # its holder shall let go
        self.lost = False  # somebody else has it
        self.stops = False  # nobody wants it, but this replica stops
        self._scope: asyncio.Timeout | None = None

    @asynccontextmanager
    async def interruptible(self) -> AsyncIterator[None]:
        """The block ends early, and without an error, when somebody wants the lock or has it."""
        try:
            async with asyncio.timeout(None) as self._scope:
                if self.interrupted:
                    self.interrupt()
                yield
        except TimeoutError:
            if not self.interrupted:
                raise
        finally:
            self._scope = None

    def interrupt(self) -> None:
        self.interrupted = True
        if self._scope is not None and not self._scope.expired():
            self._scope.reschedule(asyncio.get_running_loop().time())

    def lose(self) -> None:
        self.lost = True
        self.interrupt()

    def stop(self) -> None:
        self.stops = True
        self.interrupt()

    def interruption(self) -> MillraceError:
        """What whoever sends is told."""
        if self.stops and not self.lost:
            return _stopping("This server is shutting down. Ask for the file's offset, and go on from there.")
        return Locked("Another request has taken this file over. Ask for its offset, and go on from there.")


class FileLocks:
    """Those of this replica."""

    def __init__(self, pool: Pool, *, grace: float) -> None:
        """`grace`: seconds that open requests get to finish when this replica stops."""
        self._pool = pool
        self._grace = grace
        self._replica = new_id()
        self._held: set[FileLock] = set()
        self._draining = False
        self._queries = load_queries("ingest", "files/lock.sql")

    @asynccontextmanager
    async def holding(
        self, tenant: str, id_: UUID, *, patience: float = PATIENCE_SECONDS
    ) -> AsyncIterator[tuple[File, FileLock]]:
        """The file as it is once we have its lock, which is taken from whoever has it. Raises Locked if he does not
        let go in time."""
        file = await self._take(tenant, id_, patience)
        lock = FileLock(tenant, id_, file.token)
        self._held.add(lock)
        try:
            yield file, lock
        finally:
            self._held.discard(lock)
            with contextlib.suppress(*DATABASE_GONE):  # then the lease ends by itself
                await asyncio.shield(self._pool.execute(self._queries["release"], tenant, id_, file.token))

    async def _take(self, tenant: str, id_: UUID, patience: float) -> File:
        clock = asyncio.get_running_loop().time
        deadline, pause = clock() + patience, _POLL_SECONDS
        while True:
            if self._draining:
                raise _stopping("This server is shutting down. Try again.")
            row = await self._pool.fetchrow(self._queries["take"], tenant, id_, self._replica, LEASE_SECONDS)
            if row is not None:
                return file_of(row)
            if clock() >= deadline:
                raise Locked("Another request sends bytes of this file now, and does not let go.")
            await self._ask_for(tenant, id_)
            await asyncio.sleep(pause)
            pause = min(1.1 * pause, _SLOWEST_POLL_SECONDS)

    async def _ask_for(self, tenant: str, id_: UUID) -> None:
        row = await self._pool.fetchrow(self._queries["want"], tenant, id_)
        if row is None:
            raise Gone("This file has been deleted, or has expired. Send it anew.")
        if row["holder"] == self._replica:
            for lock in self._held:
                if (lock.tenant, lock.id) == (tenant, id_):
                    lock.interrupt()

    async def renew(self) -> bool:
        """Prolong the leases of all that are held here, and stop whoever is wanted or has lost."""
        held = list(self._held)
        if held:
            rows = await self._pool.fetch(
                self._queries["renew"],
                [lock.tenant for lock in held],
                [lock.id for lock in held],
                [lock.token for lock in held],
                LEASE_SECONDS,
            )
            wanted = {(row["id"], row["token"]): row["wanted"] for row in rows}
            for lock in held:
                if (is_wanted := wanted.get((lock.id, lock.token))) is None:
                    lock.lose()
                elif is_wanted:
                    lock.interrupt()
        return False

    async def drain(self) -> None:
        """Whoever sends comes to his end, if he can within our grace. Who can't is told so while there is still time
        to record what he has sent, and goes on at another replica."""
        asyncio.get_running_loop().call_later(max(0.0, self._grace - _LAST_SECONDS), self._stop_all)

    def _stop_all(self) -> None:
        self._draining = True
        for lock in self._held:
            lock.stop()


def _stopping(detail: str) -> Unavailable:
    return Unavailable(detail, headers={"Retry-After": "1"})
