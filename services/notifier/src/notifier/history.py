"""Pages of the log for those who are behind. Few are read at once, so that however many come back together, the feed
and the handshakes still get at the database."""

import asyncio

from events.envelope import RecordedEvent
from events.errors import LogHole
from events.log.log import EventLog
from notifier.form import Channel, is_stream

PAGE = 200


def most_after(channel: Channel, after: int) -> int:
    """How many events a page has at most. Those of a stream end at the same places, wherever one begins to read."""
    return PAGE - after % PAGE if is_stream(channel) else PAGE


class History:
    def __init__(self, log: EventLog, *, reads: int) -> None:
        self._log = log
        self._turns = asyncio.Semaphore(reads)

    async def page(self, channel: Channel, after: int) -> list[RecordedEvent]:
        """What comes after a version of a stream, or after a position for more of a tenant."""
        return await self.first(most_after(channel, after), channel, after)

    async def first(self, most: int, channel: Channel, after: int) -> list[RecordedEvent]:
        """The same, but at most so many."""
        tenant, stream = channel
        async with self._turns:
            if stream is None:
                return await self._log.read(after, most, tenant)
            if not is_stream(channel):
                return await self._log.read_category(tenant, stream.removesuffix(":*"), after, most)
            page = await self._log.read_stream(tenant, stream, after, most)
        for version, event in enumerate(page, after + 1):
            if event.version != version:
                raise LogHole(f"Version {version} is missing from {stream}: the next one is {event.version}.")
        return page
