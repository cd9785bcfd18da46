"""What an operator asks of the processor first: how far the log is, who lags behind it, and what waits."""

from collections.abc import Mapping

from events.broker.broker import Broker, Queue
from events.database import Pool, load_queries


class Backlog:
    def __init__(self, pool: Pool, broker: Broker) -> None:
        self._pool = pool
        self._broker = broker
        self._queries = load_queries("processor", "status.sql")

    async def facts(self) -> Mapping[str, object]:
        log = await self._pool.fetchrow(self._queries["head"])
        jobs = await self._pool.fetchrow(self._queries["jobs"])
        lags = await self._pool.fetch(self._queries["lags"])
        assert log is not None
        assert jobs is not None
        return {
            "log": {"epoch": str(log["epoch"]), "head": log["position"]},
            "relay_lag": {row["name"]: row["events"] for row in lags},
            "jobs": dict(jobs),
            "queue_depth": {queue.value: await self._broker.depth(queue) for queue in Queue},
        }
