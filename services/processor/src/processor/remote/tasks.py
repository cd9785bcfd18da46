"""Tasks on their way out: kept until their steps have no use for them, and sent. For the holder of their job."""

import asyncio
import contextlib
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from opentelemetry.trace import SpanKind

from events.broker.broker import Broker, Exchange, Message
from events.database import Pool, load_queries
from events.delivery.message_spans import SEND, about
from events.envelope import encode_json
from events.errors import BrokerUnavailable, Conflict, Unroutable
from events.ids import derived_id
from events.steps import LARGEST_BYTES, RemoteTask, StopTask
from events.telemetry import Telemetry, current_traceparent
from events.traces.tracing import carried
from processor.workflows.commands import Failed
from processor.workflows.state import JobState, Key

BEATS_PER_SILENCE = 3  # how many are missed before a worker counts as dead
# Until somebody looks whether a task was sent: longer than it takes, unless the broker is away or we die.
SENDING_SECONDS = 5.0


class RemoteTasks:
    def __init__(
        self,
        pool: Pool,
        broker: Broker,
        telemetry: Telemetry,
        *,
        lost_seconds: float,
        grace: float,
        allowed: frozenset[str] | None = None,  # queues, or tenants' own: `queue`, `tenant/queue`. None: any
    ) -> None:
        self._pool = pool
        self._broker = broker
        self._telemetry = telemetry
        self._lost_seconds = lost_seconds
        self._grace = grace
        self._allowed = allowed
        self._queries = load_queries("processor", "remote/queries.sql")

    async def known(self, tenant: str, job_id: UUID) -> set[UUID]:
        """Those of a job that somebody has begun to send."""
        return {row["id"] for row in await self._pool.fetch(self._queries["known"], tenant, job_id)}

    async def send(
        self, state: JobState, key: Key, attempt: int, task: UUID, parameters: Any, until: datetime | None
    ) -> Failed | None:
        """Hand a step's attempt to whoever takes it. Not None if that cannot be."""
        action = state.plan.action(key[0])
        if self._allowed is not None and self._allowed.isdisjoint((action.uses, f"{state.tenant}/{action.uses}")):
            detail = f"The operator of this server does not allow the queue {action.uses}."
            return Failed(key, attempt, "queue_not_allowed", detail)
        body = encode_json(
            RemoteTask(
                task_id=task,
                tenant=state.tenant,
                job_id=state.id,
                step=key[0],
                item=key[1],
                attempt=attempt,
                effect_id=derived_id(state.id, f"{key[0]}:{key[1]}"),
                parameters=parameters,
                until=None if until is None else until.isoformat(),
                beat_seconds=self._lost_seconds / BEATS_PER_SILENCE,
                lost_seconds=self._lost_seconds,
            )
        )
        if len(body) > LARGEST_BYTES:
            detail = f"What the step is given has {len(body)} bytes; {LARGEST_BYTES} are allowed. Use a blob."
            return Failed(key, attempt, "parameters_too_large", detail)
        trace = current_traceparent()
        is_new = await self._pool.fetchval(
            self._queries["send"],
            *(task, state.tenant, state.id, key[0], -1 if key[1] is None else key[1], attempt),
            *(action.uses, body.decode(), trace, self._lost_seconds, SENDING_SECONDS),
        )
        if is_new is None:
            return None
        try:
            await self.publish(task, state.tenant, action.uses, body, trace)
        except Conflict as refused:
            return Failed(key, attempt, "queue_refused", refused.detail)
        except (BrokerUnavailable, Unroutable):
            pass  # whoever looks after it sends it when the broker is back
        return None

    async def publish(self, task: UUID, tenant: str, queue: str, body: bytes, trace: str | None) -> None:
        message = Message(str(task), body, queue)
        about_it = about(SEND, Exchange.TASKS, self._broker.system, message)
        with self._telemetry.span(
            f"send {Exchange.TASKS}", traceparent=trace, kind=SpanKind.PRODUCER, attributes=about_it
        ) as span:
            message = replace(message, headers={"tenant": tenant} | carried(span))
            try:
                await self._broker.publish(Exchange.TASKS, message)
            except Unroutable:
                await self._broker.declare_tasks(queue)  # it waits for the first worker
                await self._broker.publish(Exchange.TASKS, message)
        await self._pool.execute(self._queries["sent"], task, self._lost_seconds)

    async def end(self, task: UUID) -> None:
        """Tell its worker to stop, and give it the time for a last word."""
        if await self._pool.fetchval(self._queries["stop"], task):
            await self.tell_to_stop(StopTask(task_id=task))
            await asyncio.sleep(self._grace)

    async def forget(self, tasks: Collection[UUID]) -> None:
        """Their steps have gone on without them."""
        for row in await self._pool.fetch(self._queries["forget"], list(tasks)):
            if row["taken"]:
                await self.tell_to_stop(StopTask(task_id=row["id"]))

    async def tell_to_stop(self, stop: StopTask) -> None:
        """A worker that misses it hears it again with its next beat."""
        with contextlib.suppress(BrokerUnavailable):
            await self._broker.publish(Exchange.CONTROL, Message(str(stop.task_id), encode_json(stop)))
