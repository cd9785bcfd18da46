"""Kills a service at a chosen passage of its real code. Python imports this at the start of a process whose
PYTHONPATH holds this folder; the services themselves know nothing of it.

`KILL_AT=<what>:<when>:<n>` kills with SIGKILL at the n-th passage, counted from the moment that the file
`KILL_ARMED` exists:

- `append`: events written to the log
- `commit`: another statement or transaction that writes to Postgres
- `publish`: a message, or a page of the log, handed to RabbitMQ, until its confirm
- `ack`: a delivery settled

each `before` it is done, or `after` it is done and before the service knows. What the loops that `KILL_SKIPS` names do
is not counted: they run when they like.
"""

import asyncio
import os
import re
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

_WRITES = re.compile(
    r"\b(INSERT|UPDATE|DELETE|append|claim|post|reserve|renew|release|save|save_subscription|park|unpark)\b",
    re.IGNORECASE,
)


class KillPoint:
    def __init__(self, at: str, armed: Path, skips: str) -> None:
        self.what, self.when, nth = at.split(":")
        self._skips = frozenset(skips.split(","))
        self._left = int(nth)
        self._armed = armed

    def around(
        self, what: str, call: Callable[..., Awaitable[Any]], applies: Callable[..., Awaitable[bool]]
    ) -> Callable[..., Awaitable[Any]]:
        async def watched(*args: Any, **kwargs: Any) -> Any:
            skipped = what != self.what or self._in_skipped_loop() or not self._armed.exists()
            if skipped or not await applies(*args):
                return await call(*args, **kwargs)
            self._left -= 1
            chosen = self._left == 0
            if chosen and self.when == "before":
                self._die()
            result = await call(*args, **kwargs)
            if chosen:
                self._die()
            return result

        return watched

    def _in_skipped_loop(self) -> bool:
        task = asyncio.current_task()
        return task is not None and task.get_name() in self._skips

    @staticmethod
    def _die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)


async def _always(*_: Any) -> bool:
    return True


async def _writes_by_itself(connection: Any, query: str, *_: Any) -> bool:
    return not connection.is_in_transaction() and _WRITES.search(query) is not None


async def _appends(statement: Any, *_: Any) -> bool:
    return ".append(" in statement.get_query()


async def _has_written(transaction: Any, failed: type | None, *_: Any) -> bool:
    """What has only read commits nothing: loops look for work whenever they like."""
    if transaction._nested or failed is not None:
        return False
    return bool(await transaction._connection.fetchval("SELECT pg_current_xact_id_if_assigned() IS NOT NULL"))


def install(point: KillPoint) -> None:
    import asyncpg
    from asyncpg.prepared_stmt import PreparedStatement
    from asyncpg.transaction import Transaction

    from events.broker import rabbitmq as broker_rabbitmq

    def watch(owner: type, method: str, what: str, applies: Callable[..., Awaitable[bool]] = _always) -> None:
        setattr(owner, method, point.around(what, getattr(owner, method), applies))

    for method in ("execute", "fetch", "fetchrow", "fetchval"):
        watch(asyncpg.Connection, method, "commit", _writes_by_itself)
    watch(PreparedStatement, "fetchrow", "append", _appends)
    watch(Transaction, "__aexit__", "commit", _has_written)
    watch(broker_rabbitmq.RabbitBroker, "publish", "publish")
    watch(broker_rabbitmq.RabbitBroker, "publish_all", "publish")
    watch(broker_rabbitmq.RabbitDelivery, "ack", "ack")


if "KILL_AT" in os.environ:
    install(KillPoint(os.environ["KILL_AT"], Path(os.environ["KILL_ARMED"]), os.environ.get("KILL_SKIPS", "")))
