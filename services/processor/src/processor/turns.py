"""Turns on the loop: what one job has computed here keeps all others waiting, and the renewal of their leases. So none
may take long, nor may many in a row."""

import asyncio
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from time import perf_counter
from types import TracebackType
from uuid import UUID

from events.telemetry import Telemetry

# For all together, until the loop has been with everybody else once.
TURN_SECONDS = 0.02
# Nothing should take as long. What does may not be bounded as it ought to be.
SLOW_SECONDS = 0.1


class Turns:
    def __init__(self, telemetry: Telemetry) -> None:
        self._log = telemetry.log
        self._slow = telemetry.counter("millrace_slow_turns_total", "Times that one job has kept the loop for long.")
        self._left = TURN_SECONDS
        self._next = asyncio.Lock()

    def turn(self, job_id: UUID) -> AbstractAsyncContextManager[None]:
        """Around what does not await anything."""
        return _Turn(self, job_id)

    async def through(self, pieces: Iterable[None], job_id: UUID) -> None:
        """A turn for each."""
        await self.wait()
        began = perf_counter()
        for _ in pieces:
            self.ended(began, job_id)
            await self.wait()
            began = perf_counter()
        self.ended(began, job_id)

    async def wait(self) -> None:
        if self._left > 0:
            return
        async with self._next:
            if self._left <= 0:
                await asyncio.sleep(0)
                self._left = TURN_SECONDS

    def ended(self, began: float, job_id: UUID) -> None:
        seconds = perf_counter() - began
        self._left -= seconds
        if seconds > SLOW_SECONDS:
            self._slow.inc()
            self._log.warning("slow turn", job_id=str(job_id), seconds=round(seconds, 3))


class _Turn:
    __slots__ = ("_began", "_job_id", "_turns")

    def __init__(self, turns: Turns, job_id: UUID) -> None:
        self._turns = turns
        self._job_id = job_id

    async def __aenter__(self) -> None:
        await self._turns.wait()
        self._began = perf_counter()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._turns.ended(self._began, self._job_id)
