"""For services that do steps of jobs: `async with remote_worker(url, "thumbnails", make_thumbnail): …`

A task is acked as soon as it is taken, so that RabbitMQ never waits for its end; from then on beats say that it is
being worked on. If they cease, the processor gives it to somebody else.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from uuid import UUID

import msgspec

from events import steps
from events.broker.broker import Broker, Delivery, Exchange, Message, task_queue
from events.broker.by_url import open_broker
from events.envelope import encode_event, event_of, stream_name
from events.errors import BrokerUnavailable, Unroutable
from events.ids import new_id
from events.running.tasks import end
from events.steps import RemoteTask, SaidOfTask, StopTask
from events.telemetry import standard_log

_SECONDS_UNTIL_FIRST = 0.1  # a task that is done by then needs no beat
_SECONDS_BETWEEN_PROGRESS = 0.5
_RETRY_SECONDS = 0.5
_LAST_WORDS_SECONDS = 5.0  # for what must still be said when we stop
_STOPS = 10_000  # that may wait for us to hear them


class StepFailed(Exception):
    """Raised by a handler: the step has failed, with a code that its workflow may retry on."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Task:
    """What a handler is given. If nobody wants it any more, the handler is cancelled."""

    id: UUID
    tenant: str
    job_id: UUID
    step: str
    item: int | None  # its place in the list, in a map
    attempt: int  # 1, 2, 3 …
    effect_id: UUID  # the same for every attempt: give it to whoever must not do the same thing twice
    parameters: Mapping[str, Any]
    until: str | None  # when the attempt times out
    traceparent: str | None
    report: Callable[[float, str | None], None] = field(repr=False)

    def progress(self, done: float, message: str | None = None) -> None:
        """How much is done, from 0 to 1. Only the newest is passed on, twice a second at most."""
        self.report(done, message)


Handler: TypeAlias = Callable[[Task], Awaitable[Any]]


@asynccontextmanager
async def remote_worker(
    url: str,
    queue: str,
    handler: Handler,
    *,
    concurrency: int = 1,
    name: str | None = None,
    grace: float = 30.0,
) -> AsyncIterator[None]:
    """Work on the tasks of `remote/<queue>`, so many at once. At the end of the block nothing new is taken; what is not
    done within `grace` seconds is cancelled and given back."""
    name = name or f"{socket.gethostname()}-{os.getpid()}-{new_id().hex[-6:]}"
    async with open_broker(url, name=name) as broker, working(broker, queue, handler, concurrency, name, grace):
        yield


@asynccontextmanager
async def working(
    broker: Broker, queue: str, handler: Handler, concurrency: int, name: str, grace: float
) -> AsyncIterator[None]:
    """The same on a broker that is open already."""
    worker = _Worker(broker, queue, handler, concurrency, name)
    with contextlib.suppress(BrokerUnavailable):  # then it is declared as soon as the broker is there
        await broker.declare_tasks(queue)
    taking = asyncio.create_task(worker.take(), name=f"remote:{queue}")
    listening = asyncio.create_task(worker.listen(), name=f"remote:{queue}:stops")
    try:
        yield
    finally:
        await end(taking)
        await worker.finish(grace)
        await end(listening)
    if not taking.cancelled() and (failed := taking.exception()) is not None:
        raise failed


class _AtWork:
    def __init__(self, facts: RemoteTask, traceparent: str | None) -> None:
        self.beat_seconds = facts.beat_seconds
        self.handling: asyncio.Future[Any] | None = None
        self.unwanted = False
        self.newest: tuple[float, str | None] | None = None  # progress that is not passed on yet
        self.some = asyncio.Event()
        self.task = Task(
            id=facts.task_id,
            tenant=facts.tenant,
            job_id=facts.job_id,
            step=facts.step,
            item=facts.item,
            attempt=facts.attempt,
            effect_id=facts.effect_id,
            parameters=facts.parameters,
            until=facts.until,
            traceparent=traceparent,
            report=self._report,
        )

    def _report(self, done: float, message: str | None) -> None:
        self.newest = (min(max(done, 0.0), 1.0), message)
        self.some.set()


class _Worker:
    def __init__(self, broker: Broker, queue: str, handler: Handler, concurrency: int, name: str) -> None:
        self._broker = broker
        self._queue = queue
        self._handler = handler
        self._name = name
        self._room = asyncio.Semaphore(concurrency)
        self._at_work: dict[UUID, _AtWork] = {}
        self._works: set[asyncio.Task[None]] = set()
        self._log = standard_log("remote").bind(remote_queue=queue, worker=name)
        self._tasks = msgspec.json.Decoder(RemoteTask)
        self._stops = msgspec.json.Decoder(StopTask)

    async def take(self) -> None:
        async with self._broker.take(self._queue) as deliveries:
            while True:
                await self._room.acquire()
                delivery = await anext(deliveries)
                work = asyncio.create_task(self._take(delivery))
                self._works.add(work)
                work.add_done_callback(self._done)

    async def listen(self) -> None:
        """Leave what nobody wants any more."""
        async with self._broker.subscribe(Exchange.CONTROL, limit=_STOPS) as stops:
            async for message in stops:
                with contextlib.suppress(msgspec.MsgspecError):
                    stop = self._stops.decode(message.body)
                    at_work = self._at_work.get(stop.task_id)
                    if at_work is not None and stop.worker in (None, self._name):
                        at_work.unwanted = True
                        if at_work.handling is not None:
                            at_work.handling.cancel()

    async def finish(self, grace: float) -> None:
        if self._works:
            await asyncio.wait(self._works, timeout=grace)
        for at_work in self._at_work.values():
            if at_work.handling is not None:
                at_work.handling.cancel()
        if self._works:
            await asyncio.wait(self._works, timeout=_LAST_WORDS_SECONDS)
        await end(*self._works)

    def _done(self, work: asyncio.Task[None]) -> None:
        self._works.discard(work)
        self._room.release()
        if not work.cancelled() and work.exception() is not None:
            self._log.error("task lost", exc_info=work.exception())

    async def _take(self, delivery: Delivery) -> None:
        try:
            facts = self._tasks.decode(delivery.message.body)
        except msgspec.MsgspecError as wrong:
            return await self._park(delivery, wrong)
        await delivery.ack()
        if facts.task_id in self._at_work:
            return None  # it came again, since an ack was lost
        at_work = self._at_work[facts.task_id] = _AtWork(facts, delivery.message.headers.get("traceparent"))
        try:
            await self._work(at_work)
        finally:
            del self._at_work[facts.task_id]
        return None

    async def _work(self, at_work: _AtWork) -> None:
        task = at_work.task
        beating = asyncio.create_task(self._beat(at_work))
        at_work.handling = asyncio.ensure_future(self._handler(task))
        try:
            await asyncio.wait([at_work.handling])
        finally:
            await end(at_work.handling, beating)
        word = self._last_word(at_work)
        while not await self._say(task, word):
            await asyncio.sleep(_RETRY_SECONDS)

    def _last_word(self, at_work: _AtWork) -> SaidOfTask:
        handling = at_work.handling
        assert handling is not None
        id_, name = at_work.task.id, self._name
        if handling.cancelled():
            if at_work.unwanted:
                detail = "The worker was told to stop."
                return steps.StepFailed(task_id=id_, worker=name, code=steps.STOPPED, detail=detail)
            return steps.StepReleased(task_id=id_, worker=name)
        failed = handling.exception()
        if isinstance(failed, StepFailed):
            return steps.StepFailed(task_id=id_, worker=name, code=failed.code, detail=failed.detail)
        if failed is None:
            completed = steps.StepCompleted(task_id=id_, worker=name, output=handling.result())
            try:
                completed.encode()
            except (ValueError, TypeError) as wrong:
                failed = wrong
            else:
                return completed
        self._log.error("step crashed", task_id=str(id_), exc_info=failed)
        detail = f"The step failed in attempt {at_work.task.attempt}."
        return steps.StepFailed(task_id=id_, worker=name, code=steps.CRASHED, detail=detail, crashed=True)

    async def _beat(self, at_work: _AtWork) -> None:
        """Soon, then as often as is asked for, or when there is news."""
        task, pause = at_work.task, at_work.beat_seconds
        await asyncio.sleep(min(_SECONDS_UNTIL_FIRST, pause))
        while True:
            newest, at_work.newest = at_work.newest, None
            at_work.some.clear()
            said: SaidOfTask = steps.StepBeat(task_id=task.id, worker=self._name)
            if newest is not None:
                done, message = newest
                said = steps.StepProgressed(task_id=task.id, worker=self._name, done=done, message=message)
            if not await self._say(task, said):
                if at_work.newest is None:
                    at_work.newest = newest
                await asyncio.sleep(min(_RETRY_SECONDS, pause))
                continue
            if newest is not None:
                await asyncio.sleep(min(_SECONDS_BETWEEN_PROGRESS, pause))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await at_work.some.wait()

    async def _say(self, task: Task, said: SaidOfTask) -> bool:
        """False if the broker is away."""
        event = event_of(
            said,
            stream=stream_name("job", task.job_id),
            tenant=task.tenant,
            source=f"/workers/{self._queue}",
            traceparent=task.traceparent,
        )
        headers = {"tenant": task.tenant} | ({} if task.traceparent is None else {"traceparent": task.traceparent})
        try:
            await self._broker.publish(
                Exchange.INTAKE, Message(str(event.id), encode_event(event), event.type, headers)
            )
        except (BrokerUnavailable, Unroutable):
            return False
        return True

    async def _park(self, delivery: Delivery, wrong: Exception) -> None:
        """Nobody would understand it."""
        message = delivery.message
        headers = {**message.headers, "reason": f"{wrong}"[:1000], "queue": task_queue(self._queue), "attempts": "1"}
        try:
            await self._broker.publish(Exchange.DEAD, Message(message.id, message.body, message.routing_key, headers))
            await delivery.ack()
        except BrokerUnavailable:
            await delivery.reject()
