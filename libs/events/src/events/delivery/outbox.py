"""What the edge has to say reaches the log, broker up or not: a row stays open until the log holds its event."""

import asyncio
from dataclasses import replace

from opentelemetry.trace import SpanKind

from events.broker.broker import Broker, Exchange, Message
from events.database import Pool, load_queries
from events.delivery.message_spans import SEND, about
from events.delivery.queue_lengths import tell_queue_lengths
from events.envelope import Event, decode_event, encode_event
from events.errors import MillraceError
from events.lifecycle import Parts
from events.log.log import Connection, EventLog
from events.traces.tracing import carried

_SWEEP_ROWS = 500
# Publishes on their way at once. Beyond, an event waits for the sweep.
_IN_FLIGHT = 256
_LAST_SECONDS = 2.0  # for what is on its way at shutdown


class Outbox:
    """The table `outbox` in the schema of a service that does not append by itself."""

    def __init__(self, parts: Parts, *, schema: str, retry_seconds: float) -> None:
        self._pool: Pool = parts.pool
        self._broker: Broker = parts.broker
        self._log = EventLog(parts.pool)
        self._telemetry = parts.telemetry
        self._logger = parts.telemetry.log
        self._retry_seconds = retry_seconds
        self._queries = {
            name: query.format(schema=schema) for name, query in load_queries("events.delivery", "outbox.sql").items()
        }
        self._in_flight: set[asyncio.Task[bool]] = set()
        self._published = parts.telemetry.counter(
            "millrace_outbox_published_total",
            "Events handed to the broker, by how it went.",
            {"outcome": ["confirmed", "failed"]},
        )
        self._open_rows = parts.telemetry.gauge(
            "millrace_outbox_open", "Events that the log does not hold yet, as far as is known."
        )
        self._oldest = parts.telemetry.gauge(
            "millrace_outbox_oldest_age_seconds", "Since the oldest of them was to be told."
        )
        parts.telemetry.metrics.survey("outbox", self._survey)
        tell_queue_lengths(parts.broker, parts.telemetry.metrics)

    async def open(self, connection: Connection, event: Event) -> None:
        """Take on the duty to tell the log, in the transaction that makes the event true."""
        await connection.execute(
            self._queries["open"], event.tenant, event.id, encode_event(event), self._retry_seconds
        )

    def publish_soon(self, event: Event) -> None:
        """Publish without waiting for it. If it fails, the sweep does it again; what was not opened is lost then."""
        if len(self._in_flight) < _IN_FLIGHT:
            task = asyncio.create_task(self._publish(event))
            self._in_flight.add(task)
            task.add_done_callback(self._in_flight.discard)

    async def sweep(self) -> bool:
        """Close the rows whose event the log holds, publish the others again. True if it is worth to go on at once."""
        rows = await self._pool.fetch(self._queries["take_due"], _SWEEP_ROWS, self._retry_seconds)
        if not rows:
            return False
        held = await self._log.known([(row["tenant"], row["event_id"]) for row in rows])
        if held:
            tenants, ids = zip(*held, strict=True)
            await self._pool.execute(self._queries["close"], tenants, ids)
        still_open = [row["event"] for row in rows if (row["tenant"], row["event_id"]) not in held]
        published = await asyncio.gather(*(self._publish(decode_event(event)) for event in still_open))
        if not all(published):
            self._logger.warning("events wait for the broker", count=published.count(False))
        return len(rows) == _SWEEP_ROWS and all(published)

    async def _publish(self, event: Event) -> bool:
        message = Message(str(event.id), encode_event(event), event.type)
        attributes = about(SEND, Exchange.INTAKE, self._broker.system, message)
        try:
            with self._telemetry.span(
                f"send {Exchange.INTAKE}", traceparent=event.traceparent, kind=SpanKind.PRODUCER, attributes=attributes
            ) as span:
                await self._broker.publish(Exchange.INTAKE, replace(message, headers=carried(span)))
        except MillraceError as failed:
            self._published.labels("failed").inc()
            self._logger.debug("publish failed", event_id=str(event.id), error=str(failed))
            return False
        self._published.labels("confirmed").inc()
        return True

    async def _survey(self) -> None:
        row = await self._pool.fetchrow(self._queries["survey"])
        assert row is not None
        self._open_rows.set(row["open"])
        self._oldest.set(row["oldest"])

    async def close(self) -> None:
        if self._in_flight:
            await asyncio.wait(self._in_flight, timeout=_LAST_SECONDS)
