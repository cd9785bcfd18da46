"""Handles what a durable queue delivers: tries again in process, then parks what cannot be handled, with the reason.

A delivery is settled only after its handler is done with it, so a crash in between means that it comes again: handlers
must be idempotent, which appends by event id are.
"""

import asyncio
from collections.abc import Awaitable, Callable

from events.broker.broker import Broker, Delivery, Message, Queue
from events.delivery.parking import Parking, Retry
from events.telemetry import Telemetry

Handler = Callable[[Message], Awaitable[None]]


class Consumer:
    def __init__(
        self,
        broker: Broker,
        queue: Queue,
        handler: Handler,
        telemetry: Telemetry,
        *,
        concurrency: int = 64,
        retry: Retry | None = None,
    ) -> None:
        self._broker = broker
        self._queue = queue
        self._handler = handler
        self._parking = Parking(broker, queue.value, telemetry, retry)
        self._concurrency = concurrency

    async def run(self) -> None:
        """Handle deliveries, up to `concurrency` at a time, until cancelled."""
        async with (
            self._broker.consume(self._queue, prefetch=self._concurrency) as deliveries,
            asyncio.TaskGroup() as at_work,
        ):
            async for delivery in deliveries:
                at_work.create_task(self.handle(delivery))

    async def handle(self, delivery: Delivery) -> None:
        await self._parking.handle(delivery.message, lambda: self._handler(delivery.message))
        await delivery.ack()
