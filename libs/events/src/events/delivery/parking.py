"""Handling that is tried again in process; what cannot be handled is parked as a dead letter, with the reason."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter

from opentelemetry.trace import SpanKind

from events.broker.broker import Broker, Exchange, Message
from events.database import database_gone
from events.delivery.message_spans import PROCESS, about
from events.errors import Fenced, MillraceError
from events.metrics.metrics import exemplar
from events.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class Retry:
    attempts: int = 5  # for what fails by itself; while something else is away we wait as long as it takes
    first: float = 0.05  # seconds before the second attempt; doubled each time
    longest: float = 5.0  # seconds

    def pause(self, attempt: int) -> float:
        exponent = min(attempt - 1, 30)
        return float(min(self.first * 2**exponent, self.longest) * random.uniform(0.5, 1.0))  # noqa: S311 - jitter


class Parking:
    """`queue` is where a dead letter says that it comes from, and where a replay sends it."""

    def __init__(self, broker: Broker, queue: str, telemetry: Telemetry, retry: Retry | None = None) -> None:
        self._broker = broker
        self._queue = queue
        self._log = telemetry.log.bind(queue=queue)
        self._telemetry = telemetry
        self._retry = retry or Retry()
        self._messages = telemetry.counter(
            "millrace_consumer_messages_total",
            "Messages taken from a queue, by what became of them.",
            {"queue": [queue], "outcome": ["handled", "parked"]},
        )
        self._retries = telemetry.counter(
            "millrace_consumer_retries_total", "Times that handling failed and was tried again.", {"queue": [queue]}
        ).labels(queue)
        self._seconds = telemetry.histogram(
            "millrace_consumer_duration_seconds", "Handling of one message, with its retries.", {"queue": [queue]}
        ).labels(queue)

    async def handle(self, message: Message, handler: Callable[[], Awaitable[None]]) -> bool:
        """Whether it was handled; else it is parked. `Fenced` is raised: it says nothing of the message."""
        with self._telemetry.span(
            f"process {self._queue}",
            traceparent=message.headers.get("traceparent"),
            kind=SpanKind.CONSUMER,
            attributes=about(PROCESS, self._queue, self._broker.system, message),
        ):
            began = perf_counter()
            handled = await self._handle_or_park(message, handler)
            self._seconds.observe(perf_counter() - began, exemplar())
        self._messages.labels(self._queue, "handled" if handled else "parked").inc()
        return handled

    async def _handle_or_park(self, message: Message, handler: Callable[[], Awaitable[None]]) -> bool:
        attempt = 0
        while True:
            attempt += 1
            try:
                await handler()
                return True
            except Fenced:
                raise
            except Exception as error:
                away = _somebody_else_is_away(error)
                if not away and (_is_final(error) or attempt >= self._retry.attempts):
                    self._log.error("message parked", message_id=message.id, attempts=attempt, exc_info=True)
                    await self._park(message, error, attempt)
                    return False
                self._retries.inc()
                log = self._log.warning if away else self._log.info  # else it is said when it is parked
                log("message failed", message_id=message.id, attempt=attempt, error=repr(error))
            await asyncio.sleep(self._retry.pause(attempt))

    async def _park(self, message: Message, error: Exception, attempts: int) -> None:
        headers = {
            **message.headers,
            "reason": f"{type(error).__name__}: {error}"[:1000],
            "attempts": str(attempts),
            "queue": self._queue,
            "routing_key": message.routing_key,
        }
        parked = Message(message.id, message.body, message.routing_key, headers)
        failures = 0
        while True:
            try:
                return await self._broker.publish(Exchange.DEAD, parked)
            except MillraceError:
                failures += 1
            await asyncio.sleep(self._retry.pause(failures))


def _somebody_else_is_away(error: Exception) -> bool:
    return database_gone(error) or (isinstance(error, MillraceError) and error.retryable)


def _is_final(error: Exception) -> bool:
    """Our own errors say whether a retry helps; of a stranger we do not know, so it gets its attempts."""
    return isinstance(error, MillraceError) and not error.retryable
