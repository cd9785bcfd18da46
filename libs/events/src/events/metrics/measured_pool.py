"""A pool of connections to Postgres that tells how it is used, who waits for it, and when it had none to give."""

from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from time import perf_counter
from typing import Any

import asyncpg
from asyncpg.pool import PoolAcquireContext

from events.database import Pool, open_pool
from events.metrics.metrics import Metrics


class PoolMetrics:
    def __init__(self, metrics: Metrics) -> None:
        self._connections = metrics.gauge(
            "millrace_database_pool_connections", "Open connections to PostgreSQL.", {"state": ["idle", "used"]}
        )
        self._most = metrics.gauge("millrace_database_pool_connections_max", "How many there may be.")
        self._waiting = metrics.gauge("millrace_database_pool_waiting", "Callers that wait for a connection.")
        self._waits = metrics.histogram(
            "millrace_database_pool_wait_duration_seconds", "Until a caller had a connection."
        )
        self._failures = metrics.counter(
            "millrace_database_pool_failures_total", "Times that no connection was to be had."
        )

    def watch(self, pool: "MeasuredPool") -> None:
        self._most.set(pool.get_max_size())
        self._connections.labels("idle").set_function(pool.get_idle_size)
        self._connections.labels("used").set_function(lambda: pool.get_size() - pool.get_idle_size())

    @contextmanager
    def waiting(self) -> Generator[None, None, None]:
        began = perf_counter()
        self._waiting.inc()
        try:
            yield
        except Exception:
            self._failures.inc()
            raise
        finally:
            self._waiting.dec()
        self._waits.observe(perf_counter() - began)


class MeasuredPool(asyncpg.Pool):
    metrics: PoolMetrics  # set by whoever opens it

    def acquire(self, *, timeout: float | None = None) -> "_Acquiring":
        return _Acquiring(self, timeout)


# As `asyncpg.create_pool` has them.
_create = partial(
    MeasuredPool,
    max_queries=50_000,
    max_inactive_connection_lifetime=300.0,
    loop=None,
    connection_class=asyncpg.connection.Connection,
    record_class=asyncpg.Record,
)


class _Acquiring(PoolAcquireContext):
    __slots__ = ("_metrics",)

    def __init__(self, pool: "MeasuredPool", timeout: float | None) -> None:
        super().__init__(pool, timeout)
        self._metrics = pool.metrics

    async def __aenter__(self) -> Any:
        with self._metrics.waiting():
            return await super().__aenter__()

    def __await__(self) -> Generator[Any, Any, Any]:
        with self._metrics.waiting():
            return (yield from super().__await__())


@asynccontextmanager
async def open_measured_pool(url: str, metrics: Metrics, *, name: str, size: int) -> AsyncIterator[Pool]:
    async with open_pool(url, name=name, size=size, create=_create) as pool:
        assert isinstance(pool, MeasuredPool)
        pool.metrics = PoolMetrics(metrics)
        pool.metrics.watch(pool)
        yield pool
