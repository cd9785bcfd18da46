"""Following the log: everything after a position, then whatever comes, in order and without a gap."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from uuid import UUID

from events.envelope import RecordedEvent
from events.errors import LogHole, WrongEpoch
from events.log.doorbell import Doorbell
from events.log.log import EventLog

BATCH = 500
POLL_SECONDS = 1.0


class Follower:
    """Batches of the log's events. Wakes on the doorbell, and polls in case that a ring got lost.

    A missing position can only be corruption, since writers make no holes: then it raises `LogHole` instead of
    guessing. It raises `WrongEpoch` if the log is not the one that the position belongs to."""

    def __init__(
        self,
        log: EventLog,
        *,
        after: int,
        epoch: UUID,
        doorbell: Doorbell,
        batch: int = BATCH,
        poll: float = POLL_SECONDS,
    ) -> None:
        self._log = log
        self._epoch = epoch
        self._doorbell = doorbell
        self._batch = batch
        self._poll = poll
        self.position = after

    async def __aiter__(self) -> AsyncIterator[list[RecordedEvent]]:
        with self._doorbell.listening() as rung:
            while True:
                rung.clear()
                if batch := await self.read_once():
                    yield batch
                else:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(rung.wait(), self._poll)

    async def read_once(self) -> list[RecordedEvent]:
        """The next batch; empty if there is nothing new."""
        head = await self._log.head()
        if head.epoch != self._epoch:
            raise WrongEpoch(f"The log is {head.epoch}, and the cursor belongs to {self._epoch}.")
        if head.position < self.position:
            raise WrongEpoch(f"The log ends at {head.position}, before the cursor's {self.position}.")
        if head.position == self.position:
            return []
        batch = await self._log.read(self.position, min(self._batch, head.position - self.position))
        expected = self.position
        for event in batch:
            expected += 1
            if event.position != expected:
                raise LogHole(f"Position {expected} is missing from the log: the next one is {event.position}.")
        if expected < min(head.position, self.position + self._batch):
            raise LogHole(f"Position {expected + 1} is missing from the log, whose head is {head.position}.")
        self.position = expected
        return batch
