"""Ending tasks for good."""

import asyncio
from typing import Any

# Longer than any of them needs to clean up.
_AGAIN_SECONDS = 2.0


async def end(*tasks: asyncio.Future[Any]) -> None:
    """Cancel the tasks, and wait until all are done; what they raise is dropped.

    `asyncio.wait_for` of Python 3.11 swallows a cancellation that comes just when it is done, and asyncpg connects
    through it: so a task that does not end is cancelled again."""
    for task in tasks:
        task.add_done_callback(_drop)
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_AGAIN_SECONDS)


def _drop(task: asyncio.Future[Any]) -> None:
    """An exception that nobody looks at would be logged as forgotten."""
    if not task.cancelled():
        task.exception()
