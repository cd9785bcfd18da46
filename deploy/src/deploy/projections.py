"""Projections as an operator sees them: each can be made anew, and compared with what the log says."""

from typing import Any

from deploy.printing import Advance
from events.database import Pool

# In the order in which they can be made: schedules look for the jobs that they have started.
PROJECTIONS = ("jobs", "workflows", "schedules")
_NO_LIMIT = 365 * 86_400.0


async def rebuild_projection(pool: Pool, name: str, advance: Advance) -> int:
    """Returns how many events were replayed. All in one statement, so that appends do not wait for us if we are
    stopped; the server tells how far it is."""

    def heard(_connection: Any, message: Any) -> None:
        done, _, total = message.message.partition("/")
        if done.isdecimal() and total.isdecimal():
            advance(int(done), int(total))

    async with pool.acquire() as connection:
        connection.add_log_listener(heard)
        try:
            replayed: int = await connection.fetchval("SELECT processor.rebuild_one($1)", name, timeout=_NO_LIMIT)
        finally:
            connection.remove_log_listener(heard)
    return replayed
