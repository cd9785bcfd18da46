"""Looks after tasks of which nobody has heard in time: those that never reached their queue, or got lost in it; those
whose worker has died; and those that nobody wants any more."""

import asyncio
from collections.abc import Callable
from uuid import UUID

import asyncpg

from events.broker.broker import Broker, Queue, task_queue
from events.database import Pool, load_queries
from events.errors import BrokerUnavailable, Conflict, Unroutable
from events.ids import derived_id
from events.metrics.metrics import Bounded
from events.telemetry import Telemetry
from processor.remote.reports import SECONDS_BETWEEN
from processor.remote.tasks import SENDING_SECONDS, RemoteTasks

_AT_ONCE = 100
_LONGEST_PAUSE_SECONDS = 300.0  # between looks at a task that waits in its queue
_COUNTED_SECONDS = 60.0  # that a count of what a queue lacks holds
# What the intake may have before it, and still be said to listen.
_BACKLOG = 200


class RemoteWatch:
    def __init__(
        self,
        pool: Pool,
        broker: Broker,
        tasks: RemoteTasks,
        telemetry: Telemetry,
        *,
        lost_seconds: float,
        announce_mail: Callable[[], None],
    ) -> None:
        self._pool = pool
        self._broker = broker
        self._tasks = tasks
        self._log = telemetry.log
        self._lost_seconds = lost_seconds
        self._announce_mail = announce_mail
        self._queries = load_queries("processor", "remote/queries.sql")
        self._listening_since: float | None = None
        self._lacking: dict[str, tuple[float, int]] = {}  # when the queue was counted, and how many it lacked
        self._lost = telemetry.counter(
            "millrace_remote_lost_total", "Tasks whose worker has died.", {"queue": [Bounded.OTHER]}
        )
        self._queue_names = Bounded()

    async def look_once(self) -> bool:
        """True if there may be more to look after."""
        try:
            listening = await self._listening()
            rows = await self._pool.fetch(self._queries["to_look_after"], SENDING_SECONDS, _AT_ONCE)
            depths: dict[str, int] = {}
            for row in rows:
                await self._look(row, depths, listening=listening)
        except Exception:
            self._listening_since = None
            raise
        return len(rows) == _AT_ONCE

    async def tell_once(self) -> bool:
        """Pass on the newest progress of a task that has said more than its job was told."""
        told = await self._pool.fetchrow(self._queries["untold"], SECONDS_BETWEEN)
        if told is not None:
            self._announce_mail()
        return told is not None

    async def _look(self, row: asyncpg.Record, depths: dict[str, int], *, listening: bool) -> None:
        if not row["wanted"]:
            await self._tasks.forget([row["id"]])
        elif row["ended"]:
            pass  # its job has mail
        elif row["taken"]:
            if listening:
                await self._give_up(row["id"], row["queue"])
        else:
            await self._seek(row, depths)

    async def _give_up(self, task: UUID, queue: str) -> None:
        posted = await self._pool.fetchrow(self._queries["lost"], task, derived_id(task, "lost"))
        if posted is not None:
            self._log.warning("remote worker lost", task_id=str(task), remote_queue=queue)
            self._lost.labels(self._queue_names(queue)).inc()
            self._announce_mail()

    async def _seek(self, row: asyncpg.Record, depths: dict[str, int]) -> None:
        """Nobody has taken it. If nothing waits in its queue, it does not either, and is sent again. If fewer do than
        should, one that was sent long ago may be among those that are lost."""
        queue = row["queue"]
        try:
            if queue not in depths:
                depths[queue] = await self._broker.depth(task_queue(queue))
            lost = row["sent_at"] is None or depths[queue] == 0
            if lost or (row["sent_long_ago"] and await self._lacks_one(queue)):
                await self._tasks.publish(row["id"], row["tenant"], queue, row["body"].encode(), row["traceparent"])
            else:
                pause = min(self._lost_seconds * 2.0 ** min(row["looks"] + 1, 20), _LONGEST_PAUSE_SECONDS)
                await self._pool.execute(self._queries["looked"], row["id"], pause)
        except (BrokerUnavailable, Unroutable):
            pass  # somebody looks again soon
        except Conflict as refused:
            self._log.error("remote queue refused", remote_queue=queue, error=refused.detail)

    async def _lacks_one(self, queue: str) -> bool:
        """Whether to send one more than wait there. What a worker has just taken is lacking, too, until it beats: so no
        more copies come into the queue than that."""
        now = asyncio.get_running_loop().time()
        counted_at, lacking = self._lacking.get(queue, (-_COUNTED_SECONDS, 0))
        if now - counted_at >= _COUNTED_SECONDS:
            counted_at, depth = now, await self._broker.depth(task_queue(queue))
            lacking = await self._pool.fetchval(self._queries["untaken"], queue) - depth
        self._lacking[queue] = (counted_at, lacking - 1)
        return lacking > 0

    async def _listening(self) -> bool:
        """Whether we would have heard a worker for as long as it may be silent. While the broker is away, or the intake
        is behind, the silence is ours."""
        now = asyncio.get_running_loop().time()
        try:
            hears = await self._broker.depth(Queue.INTAKE) <= _BACKLOG
        except BrokerUnavailable:
            hears = False
        if not hears:
            self._listening_since = None
        elif self._listening_since is None:
            self._listening_since = now
        return self._listening_since is not None and now - self._listening_since >= self._lost_seconds
