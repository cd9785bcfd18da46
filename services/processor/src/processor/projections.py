"""Projections are folds of the log: `processor.append` keeps them current, and they can be made anew."""

from events.database import Pool


async def rebuild(pool: Pool) -> int:
    """Drop every projection and make the same rows again from the log; appends wait meanwhile. Returns how many events
    were replayed."""
    async with pool.acquire() as connection:
        # As long as the log is, so without the pool's limit.
        replayed: int = await connection.fetchval("SELECT processor.rebuild()", timeout=_NO_LIMIT)
    return replayed


_NO_LIMIT = 365 * 86_400.0
