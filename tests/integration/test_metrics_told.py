"""What pools, brokers, the log, the queue and jobs say of themselves is so."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import asyncpg
import pytest
from prometheus_client import CollectorRegistry

from deploy.process import free_port
from deploy.provision import Database
from events.broker.broker import Exchange, Message, Queue
from events.broker.measured import MeasuredBroker
from events.broker.memory import MemoryBroker
from events.database import open_pool
from events.envelope import new_event, utc_now
from events.errors import Unroutable
from events.ids import new_id
from events.log.append import Appender
from events.log.checkpoints import Checkpoints
from events.metrics.measured_pool import open_measured_pool
from events.metrics.metrics import Metrics
from events.telemetry import Telemetry
from fixtures.ingest import open_ingest
from fixtures.log import note, open_log, request
from fixtures.parts import OpenParts
from fixtures.processor import Processor
from processor.surveys import Surveys


def said(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"millrace_{name}", labels)


async def test_who_waits_for_a_connection_is_seen_while_it_waits(database: Database) -> None:
    metrics = Metrics()
    async with open_measured_pool(database.url("gateway"), metrics, name="test", size=1) as pool:
        async with pool.acquire() as connection:
            assert await connection.fetchval("SELECT 1") == 1
            waiting = asyncio.ensure_future(pool.fetchval("SELECT 2"))
            await asyncio.sleep(0)
            assert said(metrics.registry, "database_pool_waiting") == 1
            assert said(metrics.registry, "database_pool_connections", state="used") == 1
            assert said(metrics.registry, "database_pool_connections", state="idle") == 0
        assert await waiting == 2
        assert said(metrics.registry, "database_pool_waiting") == 0
        assert said(metrics.registry, "database_pool_connections", state="idle") == 1
        assert said(metrics.registry, "database_pool_wait_duration_seconds_count") == 2
        lasting = await pool.acquire()  # as those do who keep one
        assert said(metrics.registry, "database_pool_connections", state="used") == 1
        await pool.release(lasting)


async def test_a_database_that_is_not_there_is_a_failure_of_the_pool() -> None:
    metrics = Metrics()
    url = f"postgresql://nobody:none@127.0.0.1:{free_port()}/none"
    async with open_measured_pool(url, metrics, name="test", size=1) as pool:
        with pytest.raises(OSError, match="Connect call failed"):
            await pool.fetchval("SELECT 1")
    assert said(metrics.registry, "database_pool_failures_total") == 1
    assert said(metrics.registry, "database_pool_waiting") == 0


async def test_what_a_consumer_has_in_its_hands_is_counted_until_it_is_settled_or_comes_again() -> None:
    metrics = Metrics()
    broker = MeasuredBroker(MemoryBroker(), metrics)
    for number in range(4):
        await broker.publish(Exchange.INTAKE, Message(str(number), b"{}"))
    async with broker.consume(Queue.INTAKE, prefetch=3) as deliveries:
        first, second, _ = [await anext(deliveries) for _ in range(3)]
        assert said(metrics.registry, "broker_unsettled", queue="millrace.intake") == 3
        assert said(metrics.registry, "broker_unsettled_max", queue="millrace.intake") == 3
        await first.ack()
        await second.reject()
        assert said(metrics.registry, "broker_unsettled", queue="millrace.intake") == 1
    assert said(metrics.registry, "broker_unsettled", queue="millrace.intake") == 0
    assert await broker.depth(Queue.INTAKE) == 3


class UnboundBroker(MemoryBroker):
    """As RabbitMQ is whose queues somebody has deleted by hand."""

    async def publish(self, exchange: Exchange, message: Message) -> None:
        raise Unroutable(f"No queue is bound to {exchange}.")


async def test_how_publishing_went_is_counted() -> None:
    """The first task of a remote queue, whose queue is made then, was counted as unroutable: three new queues within
    minutes woke the operator."""
    metrics = Metrics()
    broker = MeasuredBroker(MemoryBroker(), metrics)
    await broker.publish(Exchange.INTAKE, Message("1", b"{}"))
    with pytest.raises(Unroutable):
        await broker.publish(Exchange.TASKS, Message("2", b"{}", "nobody"))
    with pytest.raises(Unroutable):
        await MeasuredBroker(UnboundBroker(), metrics).publish(Exchange.INTAKE, Message("3", b"{}"))
    published = {"exchange": "millrace.intake", "outcome": "confirmed"}
    assert said(metrics.registry, "broker_publishes_total", **published) == 1
    published = {"exchange": "millrace.tasks", "outcome": "no_queue"}
    assert said(metrics.registry, "broker_publishes_total", **published) == 1
    published = {"exchange": "millrace.intake", "outcome": "unroutable"}
    assert said(metrics.registry, "broker_publishes_total", **published) == 1
    assert said(metrics.registry, "broker_publish_duration_seconds_count", exchange="millrace.intake") == 1
    assert said(metrics.registry, "broker_publishing") == 0


async def test_appends_are_told_by_outcome_and_size(database: Database) -> None:
    telemetry = Telemetry("test")
    metrics = telemetry.metrics
    async with (
        open_pool(database.url("processor"), name="test", size=3) as pool,
        Appender(pool, telemetry=telemetry) as log,
    ):
        event = note("note:1")
        await log.append_all([request(event), request(note("note:2"), note("note:2"))])
        await log.append_all([request(event), request(note("note:2"), expected=7)])
    outcomes = {"appended": 2, "duplicate": 1, "conflict": 1, "id_reused": 0, "failed": 0}
    for outcome, count in outcomes.items():
        assert said(metrics.registry, "append_requests_total", outcome=outcome) == count
    assert said(metrics.registry, "append_events_total") == 3
    assert said(metrics.registry, "append_batch_events_sum") == 5
    assert said(metrics.registry, "append_duration_seconds_count") == 2
    telemetry.close()


@asynccontextmanager
async def surveying(database: Database) -> AsyncIterator[tuple[Surveys, CollectorRegistry, asyncpg.Connection]]:
    metrics, broker = Metrics(), MemoryBroker()
    async with open_pool(database.url("processor"), name="test", size=2) as pool, pool.acquire() as connection:
        yield Surveys(pool, broker, metrics, lease_seconds=30), metrics.registry, connection  # type: ignore[misc]


async def test_jobs_are_told_by_what_they_wait_for_and_the_oldest_by_its_age(database: Database) -> None:
    queued = {
        "waiting": {"due_at": "now() - interval '1 hour'"},
        "blocked": {"blocked_by": "'workflow'", "due_at": "now() - interval '1 day'"},
        "later": {"due_at": "now() + interval '1 hour'"},
        "working": {"worker": "'w'", "under_way": "true", "expires_at": "now() + interval '10 s'"},
        "resting": {"under_way": "true", "due_at": "'infinity'"},
    }
    async with surveying(database) as (surveys, registry, connection):
        for number, (state, row) in enumerate(queued.items(), 1):
            for _ in range(number):
                await connection.execute(_insert("acme" if state == "waiting" else "umbrella", row), new_id())
        await surveys.jobs()
        await surveys.tenants()
    for number, state in enumerate(queued, 1):
        assert said(registry, "jobs", state=state) == number
    oldest, lease = said(registry, "jobs_oldest_waiting_age_seconds"), said(registry, "jobs_lease_oldest_age_seconds")
    assert oldest is not None
    assert 3600 <= oldest < 4000
    assert lease is not None
    assert 20 <= lease < 400, "of 30 seconds 10 are left"
    assert said(registry, "tenant_jobs", tenant="acme", state="waiting") == 1
    assert said(registry, "tenant_jobs", tenant="umbrella", state="working") == 4


def _insert(tenant: str, row: Mapping[str, str]) -> str:
    row = {"tenant": f"'{tenant}'", "workflow": "'w'", "computes": "true", "priority": "0", "due_at": "now()", **row}
    names, values = ", ".join(row), ", ".join(row.values())
    return f"INSERT INTO processor.queue (job_id, {names}) VALUES ($1, {values})"


async def test_only_the_tenants_with_most_jobs_are_told_apart(database: Database) -> None:
    async with surveying(database) as (surveys, registry, connection):
        for number in range(22):
            for _ in range(1 if number < 2 else 2):
                await connection.execute(_insert(f"tenant-{number}", {}), new_id())
        await surveys.tenants()
    assert said(registry, "tenant_jobs", tenant="tenant-21", state="waiting") == 2
    assert said(registry, "tenant_jobs", tenant="tenant-0", state="waiting") is None
    assert said(registry, "tenant_jobs", tenant="other", state="waiting") == 2


async def test_an_empty_system_has_no_ages(database: Database) -> None:
    """The oldest of nothing is null to PostgreSQL, and NaN would be to Prometheus."""
    async with surveying(database) as (surveys, registry, _):
        for ask in (surveys.log, surveys.jobs, surveys.dead_letters, surveys.remote_tasks, surveys.queues):
            await ask()
    ages = [
        *("jobs_oldest_waiting_age_seconds", "jobs_lease_oldest_age_seconds", "dead_letters_oldest_age_seconds"),
        *("dead_letters_waiting", "log_head_position"),
    ]
    assert [said(registry, name) for name in ages] == [0] * len(ages)
    assert said(registry, "remote_tasks_oldest_age_seconds", state="waiting") == 0
    assert said(registry, "log_reader_lag_seconds", reader="relay.feed") == 0
    assert said(registry, "queue_messages", queue="millrace.intake") == 0


async def test_a_reader_of_the_log_lags_by_events_and_by_the_age_of_the_first_that_it_has_not_read(
    database: Database,
) -> None:
    async with surveying(database) as (surveys, registry, _), open_log(database) as log:
        old = new_event(
            type="note.written", stream="note:1", tenant="acme", source="/test", data=b"{}",
            time=utc_now() - timedelta(hours=1),
        )  # fmt: skip
        for event in (note("note:1"), old, note("note:1")):
            await log.appender.append(request(event))
        checkpoints = Checkpoints(log.pool)
        await checkpoints.save(await checkpoints.acquire("relay.feed"), 1)
        await checkpoints.save(await checkpoints.acquire("relay.events"), 3)
        await surveys.log()
    assert said(registry, "log_head_position") == 3
    assert said(registry, "log_reader_lag_events", reader="relay.feed") == 2
    seconds = said(registry, "log_reader_lag_seconds", reader="relay.feed")
    assert seconds is not None
    assert 3600 <= seconds < 4000
    assert said(registry, "log_reader_lag_events", reader="relay.events") == 0
    assert said(registry, "log_reader_lag_seconds", reader="relay.events") == 0


async def test_dead_letters_count_until_they_are_replayed(database: Database) -> None:
    keep = (
        "INSERT INTO processor.dead_letters (id, queue, message_id, routing_key, headers, body, reason, attempts,"
        " parked_at, replayed_at) VALUES ($1, 'q', $1::uuid::text, '', '{}', '', '', 1, now() - $2::interval, $3)"
    )
    async with surveying(database) as (surveys, registry, connection):
        await connection.execute(keep, new_id(), timedelta(hours=9), utc_now())
        await connection.execute(keep, new_id(), timedelta(hours=1), None)
        await connection.execute(keep, new_id(), timedelta(0), None)
        await surveys.dead_letters()
    assert said(registry, "dead_letters_waiting") == 2
    oldest = said(registry, "dead_letters_oldest_age_seconds")
    assert oldest is not None
    assert 3600 <= oldest < 4000


async def test_what_the_log_does_not_hold_yet_is_open_and_ages(
    database: Database, open_parts_for: OpenParts, tmp_path: Path
) -> None:
    """Its age is its event's, whatever a client has put into the event's data."""
    name = quote('"time":"1999-01-01T00:00:00Z".csv')
    async with open_ingest(database, open_parts_for, MemoryBroker(), tmp_path, outbox_sweep_seconds=3600.0) as ingest:
        await ingest.post(query=f"?filename={name}")
        metrics = ingest.parts.telemetry.metrics
        await metrics.told("")
        assert said(metrics.registry, "outbox_open") == 1
        age = said(metrics.registry, "outbox_oldest_age_seconds")
        assert age is not None
        assert 0 < age < 300
        assert said(metrics.registry, "uploads_accepted_total") == 1


async def test_a_finished_job_tells_how_long_it_waited_ran_and_computed(processor: Processor) -> None:
    job = await processor.run(b"name,age\nAda,36\n")
    assert job["status"] == "COMPLETED"
    await processor.run(b"")
    await processor.run(b"name\nAda\n", workflow="made-up-by-a-client")
    registry = processor.parts.telemetry.registry
    async with asyncio.timeout(90):  # the log knows of the end before the worker counts it
        while said(registry, "job_wait_duration_seconds_count") != 3:
            await asyncio.sleep(0.02)
    invented = {"workflow": "made-up-by-a-client", "outcome": "failed"}
    assert said(registry, "jobs_finished_total", **invented) is None
    assert said(registry, "jobs_finished_total", workflow="other", outcome="failed") == 1
    for outcome in ("completed", "failed"):
        finished = {"workflow": "csv-profile", "outcome": outcome}
        assert said(registry, "jobs_finished_total", **finished) == 1
    assert said(registry, "job_duration_seconds_count", outcome="completed") == 1
    assert said(registry, "step_duration_seconds_count", step="csv-profile", outcome="completed") == 1
    assert said(registry, "step_wait_duration_seconds_count") == 2
    assert said(registry, "intake_event_age_seconds_count") == 3
    assert said(registry, "tenant_jobs_finished_total", tenant="acme", outcome="failed") == 2
    assert said(registry, "step_processes", state="idle") == 1
