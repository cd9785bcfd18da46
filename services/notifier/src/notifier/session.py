"""The subscriptions of one open socket."""

import asyncio
import random
from collections.abc import Awaitable, Callable

from events.database import database_gone
from events.log import EventLog
from notifier.hub import Channel, Dialect, Hub
from notifier.subscription import Outlet, Subscription

MAX_SUBSCRIPTIONS = 1000
_RETRY_FIRST_SECONDS = 0.1
_RETRY_LONGEST_SECONDS = 2.0


class Session:
    def __init__(
        self, log: EventLog, hub: Hub, dialect: Dialect, outlet: Outlet, failed: Callable[[BaseException], None]
    ) -> None:
        self._log = log
        self._hub = hub
        self._dialect = dialect
        self._outlet = outlet
        self._failed = failed
        self._following: dict[Channel, asyncio.Task[None]] = {}

    def write(self, frame: bytes) -> None:
        self._outlet.write(frame)

    def position(self) -> int:
        """Of the newest event that was told: after it comes what is live."""
        return self._hub.position

    def subscribe(self, channel: Channel, after: int) -> bool:
        """False if the channel is subscribed already, or too many are."""
        if channel in self._following or len(self._following) >= MAX_SUBSCRIPTIONS:
            return False
        subscription = Subscription(channel, after, self._log, self._hub, self._dialect, self._outlet)
        task = asyncio.create_task(subscription.run(_while_the_database_is_away))
        task.add_done_callback(self._ended)
        self._following[channel] = task
        return True

    def unsubscribe(self, channel: Channel) -> bool:
        task = self._following.pop(channel, None)
        if task is not None:
            task.cancel()
        return task is not None

    def close(self) -> None:
        for channel in list(self._following):
            self.unsubscribe(channel)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)


async def _while_the_database_is_away(read: Callable[[], Awaitable[None]]) -> None:
    """Repeat a read until the database answers: its client waits, and misses nothing."""
    pause = _RETRY_FIRST_SECONDS
    while True:
        try:
            return await read()
        except Exception as error:
            if not database_gone(error):
                raise
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
        pause = min(pause * 2, _RETRY_LONGEST_SECONDS)
