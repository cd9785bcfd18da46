"""Bytes that nobody needs any more are removed, each with its row."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from structlog.stdlib import BoundLogger

from events.database import Pool
from events.errors import MillraceError


async def remove_each(
    pool: Pool,
    log: BoundLogger,
    keys: Iterable[tuple[Any, ...]],
    remove: Callable[..., Awaitable[None]],
    *,
    lock: str,  # the query that locks a row, and returns nothing if somebody is at it, or it is gone
    forget: str,  # the query that deletes it
) -> bool:
    """Each by itself: one that cannot be removed now must not keep the others. Whether all are gone."""
    all_gone = True
    for key in keys:
        try:
            async with pool.acquire() as connection, connection.transaction():
                if await connection.fetchval(lock, *key) is not None:
                    await remove(*key)
                    await connection.execute(forget, *key)
        except MillraceError as failed:
            log.warning("bytes cannot be removed now", key="/".join(map(str, key)), reason=failed.detail)
            all_gone = False
    return all_gone
