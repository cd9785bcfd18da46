"""What must be true of an upload afterwards, whatever happened on its way."""

import collections

import asyncpg

from deploy.stack import Stack
from fixtures.client import Watched


async def everything_happened_once(stack: Stack, job_id: str, upload_id: str, seen: Watched) -> None:
    """One job, one end, and a client that has seen every version once and in order."""
    log = await asyncpg.connect(stack.postgres_url("owner"))
    try:
        events = await log.fetch(
            "SELECT version, type, data FROM events.events WHERE stream = $1 ORDER BY position", f"job:{job_id}"
        )
        jobs = await log.fetchval("SELECT count(*) FROM processor.jobs WHERE input->>'upload_id' = $1", upload_id)
    finally:
        await log.close()
    types = collections.Counter(event["type"] for event in events)
    assert jobs == 1
    assert types["job.created"] == 1
    assert types["job.completed"] + types["job.failed"] + types["job.cancelled"] == 1
    assert types["job.completed"] == 1, dict(types)
    assert [event["version"] for event in events] == list(range(1, len(events) + 1))
    assert seen.versions == [event["version"] for event in events], "every version once, in order"
