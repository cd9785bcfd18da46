"""Connections to Postgres, and the SQL that lives in `.sql` files."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from importlib import resources
from typing import TypeAlias

import asyncpg

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

# What asyncpg raises when the server is gone, going, or not yet there: the same statement may succeed later.
DATABASE_GONE: tuple[type[Exception], ...] = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a call on a connection whose server has just said goodbye
    asyncpg.OperatorInterventionError,  # shutdown, crash recovery, an administrator's terminate
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,  # a deadlock: the other one went on
    asyncpg.ReadOnlySQLTransactionError,  # a primary that was demoted, before its name leads to the new one
)


def database_gone(error: BaseException) -> bool:
    """Whether a repetition may succeed. asyncpg files wrong arguments under InterfaceError too: those will not."""
    return isinstance(error, DATABASE_GONE) and not isinstance(error, asyncpg.DataError)


_QUERY_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)

# A statement that takes longer has lost its server or waits for a lock that somebody forgot.
STATEMENT_SECONDS = 30.0


@asynccontextmanager
async def open_pool(
    url: str, *, name: str, size: int, create: Callable[..., Pool] = asyncpg.create_pool
) -> AsyncIterator[Pool]:
    """Autocommitting connections, at most `size`, opened as they are needed."""
    pool = create(
        url,
        min_size=0,
        max_size=size,
        command_timeout=STATEMENT_SECONDS,
        timeout=5.0,
        server_settings={"application_name": f"millrace-{name}"},
        reset=_nothing_to_reset,
    )
    async with pool:
        yield pool


async def warm(pool: Pool, *, within: float) -> None:
    """Open all its connections, as far as that succeeds; whoever needs one that failed is told why. Who comes first to
    a service that has just begun would wait for them, and it may be everybody."""
    with contextlib.suppress(TimeoutError):
        async with contextlib.AsyncExitStack() as held, asyncio.timeout(within):
            opening = (held.enter_async_context(pool.acquire()) for _ in range(pool.get_max_size()))
            # Each to its end: one that was opened when the others are given back already would be nobody's.
            await asyncio.gather(*opening, return_exceptions=True)


async def _nothing_to_reset(_: object) -> None:
    """asyncpg would ask the server to forget a session's settings and locks each time that a connection comes back,
    which doubles the cost of a small statement. Ours leave none: only transactions, and those are rolled back without
    this."""


def load_queries(package: str, file: str) -> Mapping[str, str]:
    """The queries of a `.sql` file, by the name in the `-- name:` line above each."""
    parts = _QUERY_NAME.split(resources.files(package).joinpath(file).read_text())
    names, bodies = parts[1::2], parts[2::2]
    return {name: body.strip() for name, body in zip(names, bodies, strict=True)}
