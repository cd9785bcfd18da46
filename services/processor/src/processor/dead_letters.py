"""Messages that nobody could handle: drained from the broker into a table, and from there replayed by command."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from events.broker.broker import QUEUE_OF, Broker, Exchange, Message, Queue, named_queue
from events.database import Pool, load_queries
from events.envelope import encode_json
from events.ids import new_id

# What the consumer adds when it parks a message; the rest are the message's own headers.
_PARKING_HEADERS = frozenset({"reason", "attempts", "queue", "routing_key"})
_PREFETCH = 16
REPLAY_LIMIT = 1000

_EXCHANGE_OF: Mapping[str, Exchange] = {queue.value: exchange for exchange, queue in QUEUE_OF.items()}
_OF_SUBSCRIBERS = named_queue(Exchange.SUBSCRIBERS, "")


class _Envelope(msgspec.Struct):
    tenant: str | None = None


class DeadLetter(msgspec.Struct, frozen=True):
    id: UUID
    queue: str
    message_id: str
    tenant: str | None
    routing_key: str
    reason: str
    attempts: int
    bytes: int
    parked_at: datetime
    replayed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which dead letters are meant: those of the tenant and those that tell no tenant, narrowed by what is given."""

    tenant: str
    ids: list[UUID] | None = None
    queue: str | None = None
    routing_key: str | None = None


class DeadLetters:
    def __init__(self, pool: Pool, broker: Broker) -> None:
        self._pool = pool
        self._broker = broker
        self._queries = load_queries("processor", "dead_letters.sql")
        self._envelopes = msgspec.json.Decoder(_Envelope)

    async def drain(self) -> None:
        """Keep what is parked, until cancelled. A message leaves the broker when its row is committed."""
        async with self._broker.consume(Queue.DEAD, prefetch=_PREFETCH) as deliveries:
            async for delivery in deliveries:
                await self.keep(delivery.message)
                await delivery.ack()

    async def keep(self, message: Message) -> None:
        headers = {name: _text(value) for name, value in message.headers.items()}
        attempts = headers.get("attempts", "")
        await self._pool.execute(
            self._queries["keep"],
            new_id(),
            headers.get("queue", Queue.INTAKE.value),
            _text(message.id) or hashlib.sha256(message.body).hexdigest(),
            self._tenant(message.body),
            headers.get("routing_key", _text(message.routing_key)),
            encode_json({name: value for name, value in headers.items() if name not in _PARKING_HEADERS}).decode(),
            message.body,
            headers.get("reason", "It came without a reason."),
            int(attempts) if attempts.isdecimal() else 0,
        )

    def _tenant(self, body: bytes) -> str | None:
        try:
            tenant = self._envelopes.decode(body).tenant
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        return None if tenant is None else _text(tenant)

    async def page(
        self, selection: Selection, *, before: UUID | None, limit: int, replayed: bool | None
    ) -> list[DeadLetter]:
        """Newest first, those parked before the one named `before`."""
        rows = await self._pool.fetch(
            self._queries["page"],
            selection.tenant,
            selection.queue,
            selection.routing_key,
            before,
            limit,
            replayed,
        )
        return [DeadLetter(**row) for row in rows]

    async def replay(self, selection: Selection, *, limit: int) -> list[UUID]:
        """Publish again those that wait, under their own ids: whoever has handled one already ignores it."""
        rows = await self._pool.fetch(
            self._queries["replayable"],
            selection.tenant,
            selection.ids,
            selection.queue,
            selection.routing_key,
            limit,
        )
        replayed: list[UUID] = []
        for row in rows:
            destination = _destination(row["queue"], row["routing_key"])
            if destination is None:
                continue
            exchange, key = destination
            headers: dict[str, Any] = msgspec.json.decode(row["headers"])
            await self._broker.publish(exchange, Message(row["message_id"], row["body"], key, headers))
            await self._pool.execute(self._queries["replayed"], row["id"], row["parked_at"])
            replayed.append(row["id"])
        return replayed


def _destination(queue: str, routing_key: str) -> tuple[Exchange, str] | None:
    """Where what came from the queue is published again. What a group of subscribers has parked is its own."""
    if queue.startswith(_OF_SUBSCRIBERS):
        return Exchange.SUBSCRIBERS, queue.removeprefix(_OF_SUBSCRIBERS)
    exchange = _EXCHANGE_OF.get(queue)
    return None if exchange is None or exchange is Exchange.DEAD else (exchange, routing_key)


def _text(value: str) -> str:
    """What Postgres takes as text."""
    return value.replace("\0", "\ufffd").encode(errors="replace").decode()
