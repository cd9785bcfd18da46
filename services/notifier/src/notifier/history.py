"""Pages of the log for those who are behind. Few are read at once, so that however many come back together, the feed
and the handshakes still get at the database."""

import asyncio

from events.envelope import RecordedEvent
from events.errors import LogHole
from events.log import EventLog
from notifier.hub import Channel, is_stream

PAGE = 200


class History:
    def __init__(self, log: EventLog, *, reads: int) -> None:
        self._log = log
        self._turns = asyncio.Semaphore(reads)

    async def page(self, channel: Channel, after: int, limit: int = PAGE) -> list[RecordedEvent]:
        """Up to `limit` events after a version of a stream, or after a position for more of a tenant."""
        tenant, stream = channel
        async with self._turns:
            if stream is None:
                return await self._log.read(after, limit, tenant)
            if not is_stream(channel):
                return await self._log.read_category(tenant, stream.removesuffix(":*"), after, limit)
            page = await self._log.read_stream(tenant, stream, after, limit)
        for version, event in enumerate(page, after + 1):
            if event.version != version:
                raise LogHole(f"Version {version} is missing from {stream}: the next one is {event.version}.")
        return page
