"""Pages of the log for those who are behind. Few are read at once, so that however many come back together, the feed
and the handshakes still get at the database."""

import asyncio

from events.envelope import RecordedEvent
from events.errors import LogHole
from events.log import EventLog
from notifier.hub import Channel

PAGE = 200


class History:
    def __init__(self, log: EventLog, *, reads: int) -> None:
        self._log = log
        self._turns = asyncio.Semaphore(reads)

    async def page(self, channel: Channel, after: int) -> list[RecordedEvent]:
        """Up to `PAGE` events after a version of a stream, or after a position for a whole tenant."""
        tenant, stream = channel
        async with self._turns:
            if stream is None:
                return await self._log.read(after, PAGE, tenant)
            page = await self._log.read_stream(tenant, stream, after, PAGE)
        for version, event in enumerate(page, after + 1):
            if event.version != version:
                raise LogHole(f"Version {version} is missing from {stream}: the next one is {event.version}.")
        return page
