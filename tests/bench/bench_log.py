"""How fast the log takes events, beside what Postgres does without one.

Ours is the whole append: ids, streams, partitions, versions checked, the job projection, one commit per statement. The
others write the same events into a bare table that only has the indexes that an event table needs: by position, by
stream and version, and unique by event id.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from time import perf_counter
from typing import Any

import asyncpg

from bench.report import Aim, Result, percentiles
from bench.servers import open_database
from deploy.provision import Database
from events.database import Pool, open_pool
from events.envelope import Event, new_event, stream_name
from events.ids import new_id
from events.jobs import JobCompleted, JobCreated, JobEvent, JobProgressed, JobStarted, JobStatus
from events.log.append import Appended, Appender, AppendRequest
from events.log.log import Connection, EventLog

AIMS = {
    "callers64_per_s": Aim(at_least=15_000),
    "callers64_over_single": Aim(at_least=6),
    "batch_over_copy": Aim(at_least=0.7),
}

CALLERS = 64  # each waits for its outcome before it sends the next event
CONNECTIONS = 8  # what a service's pool has, for the plain inserts
BATCH = 100
BATCH_CALLERS = 1  # concurrent batches; for COPY, connections
JOB_EVENTS = 20  # a job's life: created, started, progressed …, completed
WARM_UP, SECONDS = 1.0, 6.0
SOURCE = "/millrace/processor"

_BARE_TABLE = """
CREATE SCHEMA bench;
CREATE TABLE bench.events (
    position bigint PRIMARY KEY, version bigint NOT NULL, tenant text COLLATE "C" NOT NULL,
    stream text COLLATE "C" NOT NULL, id uuid NOT NULL, type text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL, time timestamptz NOT NULL, traceparent text COLLATE "C", data json NOT NULL
);
CREATE INDEX ON bench.events (tenant, stream, version);
CREATE UNIQUE INDEX ON bench.events (tenant, id);
GRANT USAGE ON SCHEMA bench TO millrace_processor;
GRANT ALL ON bench.events TO millrace_processor;
"""
_COLUMNS = ("position", "version", "tenant", "stream", "id", "type", "source", "time", "traceparent", "data")
_INSERT = f"INSERT INTO bench.events VALUES ({', '.join(f'${place}' for place in range(1, len(_COLUMNS) + 1))})"


def job_events() -> Iterator[tuple[int, Event]]:
    """The events of one job after another, each with the version that its stream has before it."""
    life = _job_life()
    while True:
        stream = stream_name("job", new_id())
        for version, (type_, data) in enumerate(life):
            yield version, new_event(type=type_, stream=stream, tenant="acme", source=SOURCE, data=data)


def _job_life() -> list[tuple[str, bytes]]:
    """Types and payloads, encoded once: this is about the log, not about the encoder."""
    step: dict[str, Any] = {"current_step": "profile", "step_message": "1,204,331 of 15,000,000 rows"}
    upload = {"blob": f"uploads/acme/{new_id()}", "filename": "people.csv", "bytes": 1_700_000_000}
    life: list[JobEvent] = [
        JobCreated(
            status=JobStatus.PENDING, progress_percent=0, current_step=None, step_message=None,
            workflow="csv-profile", input=upload,
        ),
        JobStarted(status=JobStatus.PROCESSING, progress_percent=0, **step),
        *(
            JobProgressed(status=JobStatus.PROCESSING, progress_percent=100 * done // JOB_EVENTS, **step)
            for done in range(JOB_EVENTS - 3)
        ),
        JobCompleted(status=JobStatus.COMPLETED, progress_percent=100, result={"rows": 15_000_000}, **step),
    ]  # fmt: skip
    return [(payload.event_type, payload.encode()) for payload in life]


async def rate(workers: list[Callable[[], Awaitable[int]]]) -> tuple[float, list[float]]:
    """Events per second while every worker repeats its call, and how many milliseconds each call took."""
    milliseconds: list[float] = []
    done = 0
    began = perf_counter() + WARM_UP
    end = began + SECONDS

    async def repeat(call: Callable[[], Awaitable[int]]) -> None:
        nonlocal done
        while (before := perf_counter()) < end:
            events = await call()
            if before >= began:
                done += events
                milliseconds.append(1000 * (perf_counter() - before))

    await asyncio.gather(*(repeat(worker) for worker in workers))
    return done / (perf_counter() - began), milliseconds


def single_appends(appender: Appender) -> list[Callable[[], Awaitable[int]]]:
    def caller() -> Callable[[], Awaitable[int]]:
        events = job_events()

        async def append() -> int:
            version, event = next(events)
            outcome = await appender.append(AppendRequest(event.tenant, event.subject, (event,), version))
            assert isinstance(outcome, Appended)
            return 1

        return append

    return [caller() for _ in range(CALLERS)]


def batch_appends(appender: Appender) -> list[Callable[[], Awaitable[int]]]:
    def caller() -> Callable[[], Awaitable[int]]:
        events = job_events()

        async def append() -> int:
            batch = [next(events) for _ in range(BATCH)]
            requests = [AppendRequest(event.tenant, event.subject, (event,), version) for version, event in batch]
            outcomes = await appender.append_all(requests)
            assert all(isinstance(outcome, Appended) for outcome in outcomes)
            return BATCH

        return append

    return [caller() for _ in range(BATCH_CALLERS)]


def _row(position: int, version: int, event: Event) -> tuple[Any, ...]:
    return (
        position, version + 1, event.tenant, event.subject, event.id, event.type, event.source, event.time,
        event.traceparent, bytes(event.data).decode(),
    )  # fmt: skip


def single_inserts(pool: Pool, positions: Iterator[int]) -> list[Callable[[], Awaitable[int]]]:
    def caller() -> Callable[[], Awaitable[int]]:
        events = job_events()

        async def insert() -> int:
            await pool.execute(_INSERT, *_row(next(positions), *next(events)))
            return 1

        return insert

    return [caller() for _ in range(CALLERS)]


def copies(connections: Sequence[Connection], positions: Iterator[int]) -> list[Callable[[], Awaitable[int]]]:
    def caller(connection: Connection) -> Callable[[], Awaitable[int]]:
        events = job_events()

        async def copy() -> int:
            rows = [_row(next(positions), *next(events)) for _ in range(BATCH)]
            await connection.copy_records_to_table("events", schema_name="bench", records=rows, columns=_COLUMNS)
            return BATCH

        return copy

    return [caller(connection) for connection in connections]


@asynccontextmanager
async def open_log(database: Database) -> AsyncIterator[tuple[Appender, EventLog]]:
    async with (
        open_pool(database.url("processor"), name="bench", size=2) as pool,
        Appender(pool, function="processor.append") as appender,
    ):
        yield appender, EventLog(pool)


async def run() -> Result:
    async with open_database() as database:
        owner = await asyncpg.connect(database.admin_url)
        await owner.execute(_BARE_TABLE)
        version = await owner.fetchval("SELECT current_setting('server_version')")
        settings = {
            name: await owner.fetchval("SELECT current_setting($1)", name)
            for name in ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers")
        }
        async with open_log(database) as (appender, _):
            callers_rate, callers_ms = await rate(single_appends(appender))
        positions = count(1)
        async with open_pool(database.url("processor"), name="bench", size=CONNECTIONS) as pool:
            single_rate, single_ms = await rate(single_inserts(pool, positions))
        async with open_log(database) as (appender, _):
            batch_rate, batch_ms = await rate(batch_appends(appender))
        async with open_pool(database.url("processor"), name="bench", size=BATCH_CALLERS) as pool:
            connections = [await pool.acquire() for _ in range(BATCH_CALLERS)]
            copy_rate, copy_ms = await rate(copies(connections, positions))
            for connection in connections:
                await pool.release(connection)
        await owner.close()
    return Result(
        "log",
        {
            "postgres": version,
            **settings,
            "callers": CALLERS,
            "single insert connections": CONNECTIONS,
            "batch": BATCH,
            "batch callers": BATCH_CALLERS,
        },
        {
            "callers64_per_s": callers_rate,
            **percentiles("callers64", callers_ms, "ms"),
            "single_inserts_per_s": single_rate,
            **percentiles("single_inserts", single_ms, "ms"),
            "callers64_over_single": callers_rate / single_rate,
            "batch_per_s": batch_rate,
            **percentiles("batch", batch_ms, "ms"),
            "copy_per_s": copy_rate,
            **percentiles("copy", copy_ms, "ms"),
            "batch_over_copy": batch_rate / copy_rate,
        },
    )
