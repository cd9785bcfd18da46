"""What could not be handled waits in a table, with the reason, until an operator replays it."""

import json
from typing import Any

from events.broker import QUEUE_OF, Broker, Message
from events.database import Pool, load_queries
from events.errors import NotFound
from events.lifecycle import Parts

_EXCHANGE_OF = {queue: exchange for exchange, queue in QUEUE_OF.items()}


class DeadLetters:
    def __init__(self, parts: Parts) -> None:
        self._pool: Pool = parts.pool
        self._broker: Broker = parts.broker
        self._queries = load_queries("processor", "dead_letters.sql")

    async def keep(self, message: Message) -> None:
        """Handle one delivery of the dead-letter queue."""
        headers = dict(message.headers)
        attempts = headers.get("attempts", "0")
        await self._pool.execute(
            self._queries["keep"],
            message.id,
            headers.get("queue", ""),
            headers.get("routing_key", message.routing_key),
            headers.get("reason", "unknown"),
            int(attempts) if attempts.isdecimal() else 0,
            json.dumps(headers),
            message.body,
        )

    async def waiting(self, after: int, limit: int) -> list[dict[str, Any]]:
        return [dict(row) for row in await self._pool.fetch(self._queries["waiting"], after, limit)]

    async def replay(self, id_: int) -> None:
        """Give the message back to the queue that it came from. Twice is harmless: its event has one id."""
        row = await self._pool.fetchrow(self._queries["take"], id_)
        exchange = next((e for q, e in _EXCHANGE_OF.items() if row is not None and q == row["queue"]), None)
        if row is None or exchange is None:
            raise NotFound(f"There is no dead letter {id_} that waits.")
        carried = {name: value for name, value in json.loads(row["headers"]).items() if name == "traceparent"}
        await self._broker.publish(exchange, Message(row["message_id"], row["body"], row["routing_key"], carried))
        await self._pool.execute(self._queries["replayed"], id_)
