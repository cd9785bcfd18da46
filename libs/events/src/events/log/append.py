"""Group commit: all callers that wait go into one append and one commit."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from time import perf_counter
from types import TracebackType
from typing import Self

import asyncpg
from opentelemetry.trace import SpanContext, SpanKind

from events.database import Pool, database_gone
from events.errors import Unavailable
from events.log.append_lane import REPLACED, Known, Lane
from events.log.append_metrics import AppendMetrics
from events.log.batch import (
    Appended,
    AppendRequest,
    Duplicate,
    Expected,
    IdReused,
    Outcome,
    VersionConflict,
    append_outcomes,
)
from events.log.checkpoints import Checkpoint, as_fenced
from events.log.doorbell import Doorbell
from events.metrics.metrics import Metrics
from events.telemetry import Telemetry
from events.traces.tracing import current_context

__all__ = ["AppendRequest", "Appended", "Appender", "Duplicate", "Expected", "IdReused", "Outcome", "VersionConflict"]

# More events in one call gain nothing, and make everybody wait.
BATCH_EVENTS = 512
# Calls are in flight on two connections. The log takes one at a time, but while it works on one, we read the outcomes
# of the other and write the next.
LANES = 2
# Fewer events than this are not worth two calls.
SMALLEST_SHARE = 16
# How many callers may wait; more are held back before they queue.
WAITING_CALLERS = 4096
# How long an append is tried while the database is away.
PATIENCE_SECONDS = 30.0

_RETRY_FIRST_SECONDS = 0.05
_RETRY_LONGEST_SECONDS = 1.0


@dataclass(slots=True)
class _Waiting:
    requests: Sequence[AppendRequest]
    size: int  # events
    saving: tuple[Checkpoint, int] | None
    outcomes: asyncio.Future[list[Outcome]]
    cause: SpanContext | None  # of its span


class Appender:
    """Turns all callers that wait into one call of the append function, and answers each after the commit.

    A connection that is lost in mid-call leaves the outcome unknown: the same events are sent again, and the log
    tells by their ids whether it has them. If the call raises, its callers are tried one by one, so that only the one
    that is to blame sees the error. Of two appends that do not await each other, either may come first."""

    def __init__(
        self,
        pool: Pool,
        *,
        function: str = "events.append",
        doorbell: Doorbell | None = None,
        patience: float = PATIENCE_SECONDS,
        telemetry: Telemetry | None = None,
    ) -> None:
        self._tracing = None if telemetry is None or not telemetry.tracing.collected else telemetry.tracing
        self._function = function
        known = Known()
        self._lanes = [Lane(pool, function, known) for _ in range(LANES)]
        self._doorbell = doorbell
        self._patience = patience
        self._waiting: deque[_Waiting] = deque()
        self._outstanding = 0  # events that wait or are in flight
        self._room = asyncio.Semaphore(WAITING_CALLERS)
        self._wake = asyncio.Event()
        self._closing = False
        self._tasks: list[asyncio.Task[None]] = []
        metrics = Metrics() if telemetry is None else telemetry.metrics
        self._metrics = AppendMetrics(metrics, waiting=lambda: len(self._waiting))

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._write_batches(lane), name="appender") for lane in self._lanes]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what waits, as long as the database lets us."""
        self._closing = True
        self._wake.set()
        await asyncio.gather(*self._tasks)
        for lane in self._lanes:
            await lane.disconnect()

    async def append(self, request: AppendRequest) -> Outcome:
        return (await self.append_all((request,)))[0]

    async def append_all(
        self, requests: Sequence[AppendRequest], *, saving: tuple[Checkpoint, int] | None = None
    ) -> list[Outcome]:
        """Append in one statement, each request seeing the ones before it. Each is atomic by itself.

        `saving` moves a checkpoint to a position in the same commit, and needs a function that can
        (`processor.append`); it raises `Fenced`, and appends nothing, if somebody has taken the checkpoint over.
        Raises `Unavailable` if the outcome is not known in time: then repeat it with the same event ids."""
        async with self._room:
            if self._closing:
                raise Unavailable("This process is shutting down.")
            size = sum([len(request.events) for request in requests])
            outcomes: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
            cause = None if self._tracing is None else current_context()
            self._waiting.append(_Waiting(requests, size, saving, outcomes, cause))
            self._outstanding += size
            self._wake.set()
            return await outcomes

    async def _write_batches(self, lane: Lane) -> None:
        while True:
            await self._wake.wait()
            if self._waiting:
                batch = self._next_batch()
                await self._settle(lane, batch)
                self._outstanding -= sum([caller.size for caller in batch])
                # Those who were just answered may have more to say: without them the next call would be a small one.
                await asyncio.sleep(0)
            elif self._closing:
                return
            else:
                self._wake.clear()

    def _next_batch(self) -> list[_Waiting]:
        """As many callers as make this lane's share. One that saves a checkpoint has a call of its own."""
        share = min(BATCH_EVENTS, max(SMALLEST_SHARE, -(-self._outstanding // LANES)))
        batch = [self._waiting.popleft()]
        size = batch[0].size
        while self._waiting and batch[0].saving is None and self._waiting[0].saving is None:
            size += self._waiting[0].size
            if size > share:
                break
            batch.append(self._waiting.popleft())
        return batch

    async def _settle(self, lane: Lane, batch: list[_Waiting]) -> None:
        """Give every caller of the batch its outcomes, or its error."""
        requests = [request for caller in batch for request in caller.requests]
        try:
            with self._span(batch, len(requests)):
                outcomes = await self._call_until_certain(lane, requests, batch[0].saving)
        except Exception as error:
            if len(batch) > 1 and not isinstance(error, Unavailable):
                for caller in batch:
                    await self._settle(lane, [caller])
                return
            self._metrics.failed(requests)
            for caller in batch:
                if not caller.outcomes.done():
                    caller.outcomes.set_exception(as_fenced(error) or error)
            return
        begin = 0
        for caller in batch:
            end = begin + len(caller.requests)
            if not caller.outcomes.done():  # the caller may have been cancelled
                caller.outcomes.set_result(outcomes[begin:end])
            begin = end

    def _span(self, batch: list[_Waiting], requests: int) -> AbstractContextManager[object]:
        """One for all callers, in their traces: what each of them waits for."""
        if self._tracing is None:
            return contextlib.nullcontext()
        call = f"SELECT {self._function}"
        attributes: dict[str, str | int] = {
            "db.system.name": "postgresql",
            "db.query.summary": call,
            "db.operation.name": "SELECT",
            "db.stored_procedure.name": self._function,
            "millrace.events": sum([caller.size for caller in batch]),
        }
        if requests > 1:
            attributes["db.operation.batch.size"] = requests
        causes = (caller.cause for caller in batch)
        return self._tracing.batch(call, causes, kind=SpanKind.CLIENT, attributes=attributes)

    async def _call_until_certain(
        self, lane: Lane, requests: list[AppendRequest], saving: tuple[Checkpoint, int] | None
    ) -> list[Outcome]:
        clock = asyncio.get_running_loop()
        deadline = clock.time() + self._patience
        pause = _RETRY_FIRST_SECONDS
        while True:
            began = perf_counter()
            try:
                row = await lane.call(requests, saving)
                self._metrics.called(requests, perf_counter() - began)
                break
            except Exception as error:
                if isinstance(error, REPLACED):
                    await lane.doubt()
                if not _may_succeed_later(error):
                    raise
                await lane.disconnect()
                if clock.time() + pause > deadline:
                    raise Unavailable("The event log does not answer now. Try again.") from error
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            pause = min(pause * 2, _RETRY_LONGEST_SECONDS)
        if self._doorbell is not None and row["accepted_to"] >= row["accepted_from"]:
            self._doorbell.ring()
        outcomes = append_outcomes(requests, row)
        self._metrics.answered(outcomes, max(0, row["accepted_to"] - row["accepted_from"] + 1))
        return outcomes


def _may_succeed_later(error: Exception) -> bool:
    """Whether the same call may succeed: the server is away, or somebody else was in the way."""
    in_the_way = (asyncpg.TransactionRollbackError, asyncpg.LockNotAvailableError)
    return database_gone(error) or isinstance(error, in_the_way)
