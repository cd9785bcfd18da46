"""What was acknowledged reaches the log, whatever happens to the broker or to ingest."""

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from deploy.process import ChildProcess, Command, free_port
from deploy.provision import Database
from deploy.rabbitmq import RabbitServer
from events.broker.broker import Queue
from events.broker.memory import MemoryBroker
from events.broker.rabbitmq import RabbitBroker
from events.delivery.outbox import Outbox
from events.envelope import Event, decode_event
from events.identity import PRINCIPAL_HEADER, PrincipalSigner
from events.log.append import Appended, Appender, AppendRequest
from fixtures.ingest import CSV, UPLOADER, RunningIngest, fetchval, open_ingest, until
from fixtures.parts import PRINCIPAL_SECRET, OpenParts
from ingest.loose_blobs import LooseBlobs

QUICK: dict[str, Any] = {"outbox_sweep_seconds": 0.05, "outbox_retry_seconds": 0.1}
NEVER: dict[str, Any] = {"outbox_sweep_seconds": 3600.0}
KILLPOINT = Path(__file__).parents[1] / "chaos" / "killpoint"


async def next_event(broker: MemoryBroker | RabbitBroker) -> Event:
    async with broker.consume(Queue.INTAKE, prefetch=1) as deliveries:
        delivery = await anext(deliveries)
        await delivery.ack()
        return decode_event(delivery.message.body)


async def record(open_parts_for: OpenParts, database: Database, event: Event) -> None:
    """What the processor's intake does with an event."""
    async with open_parts_for("processor", database) as parts, Appender(parts.pool) as appender:
        outcome = await appender.append(AppendRequest(event.tenant, event.subject, (event,)))
        assert isinstance(outcome, Appended)


async def test_an_event_is_published_until_the_log_holds_it(
    database: Database, open_parts_for: OpenParts, tmp_path: Path
) -> None:
    broker = MemoryBroker()
    async with open_ingest(database, open_parts_for, broker, tmp_path, **QUICK) as ingest:
        _, accepted = await ingest.post()
        seen = [await next_event(broker) for _ in range(3)]
        assert {event.subject for event in seen} == {f"upload:{accepted['upload_id']}"}
        assert len({event.id for event in seen}) == 1
        assert await ingest.count("ingest.outbox") == 1

        await record(open_parts_for, database, seen[0])
        await until(lambda: is_empty(ingest, "ingest.outbox"))
        await broker.purge(Queue.INTAKE)
        outbox = Outbox(ingest.parts, schema="ingest", retry_seconds=0.1)
        assert await outbox.sweep() is False
        assert await broker.depth(Queue.INTAKE) == 0


async def test_an_upload_is_acknowledged_while_rabbitmq_is_down_and_arrives_when_it_is_up(
    database: Database, open_parts_for: OpenParts, tmp_path: Path, broker_url: str, rabbitmq_server: RabbitServer
) -> None:
    await rabbitmq_server.stop()
    async with open_ingest(database, open_parts_for, broker_url, tmp_path, **QUICK) as ingest:
        try:
            promised = {(await ingest.post())[1]["job_id"] for _ in range(3)}
            assert len(promised) == await ingest.count("ingest.outbox") == 3
        finally:
            await rabbitmq_server.start()
        arrived: set[str] = set()
        async with ingest.parts.broker.consume(Queue.INTAKE, prefetch=10) as deliveries, asyncio.timeout(30):
            while arrived != promised:
                event = decode_event((await anext(deliveries)).message.body)
                arrived.add(json.loads(bytes(event.data))["job_id"])


async def test_replicas_that_sweep_at_once_publish_each_event_once(
    database: Database, open_parts_for: OpenParts, tmp_path: Path
) -> None:
    async with open_ingest(database, open_parts_for, MemoryBroker(), tmp_path, **NEVER) as ingest:
        for _ in range(20):
            await ingest.post()
        await fetchval(database, "UPDATE ingest.outbox SET due_at = now()")
        broker = MemoryBroker()
        async with open_parts_for("ingest", database, broker) as parts:
            replicas = [Outbox(parts, schema="ingest", retry_seconds=60.0) for _ in range(4)]
            await asyncio.gather(*(replica.sweep() for replica in replicas))
        published = Counter([(await next_event(broker)).id for _ in range(await broker.depth(Queue.INTAKE))])
        assert len(published) == 20
        assert set(published.values()) == {1}


@asynccontextmanager
async def ingest_that_dies(database: Database, data_dir: Path, kill_at: str) -> AsyncIterator[Any]:
    """A process that kills itself at a passage; called with a body, it uploads, and waits for the death."""
    port = free_port()
    armed = data_dir / "armed"
    process = ChildProcess(
        Command(
            [sys.executable, "-m", "ingest"],
            data_dir / "ingest.console",
            {
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(KILLPOINT),
                "KILL_AT": kill_at,
                "KILL_ARMED": str(armed),
                "MILLRACE_PORT": str(port),
                "MILLRACE_DATA_DIR": str(data_dir),
                "MILLRACE_DATABASE_URL": database.url("ingest"),
                "MILLRACE_PRINCIPAL_SECRET": PRINCIPAL_SECRET,
                "KILL_SKIPS": "outbox.sweep,blobs.sweep,files.sweep,uploads.retention",
                "MILLRACE_OUTBOX_SWEEP_SECONDS": "3600",
            },
        )
    )
    await process.start()

    async def upload_and_die() -> None:
        headers = {PRINCIPAL_HEADER: PrincipalSigner(PRINCIPAL_SECRET).sign(UPLOADER)}
        async with aiohttp.ClientSession(headers=headers) as session:
            await until(lambda: is_ready(session, port))
            armed.touch()
            with pytest.raises(aiohttp.ClientError):
                await session.post(f"http://127.0.0.1:{port}/api/v1/uploads", data=CSV)
        assert await process.wait() == -9

    try:
        yield upload_and_die
    finally:
        await process.kill()


async def is_ready(session: aiohttp.ClientSession, port: int) -> bool:
    try:
        async with session.get(f"http://127.0.0.1:{port}/readyz") as response:
            return bool(response.status == 200)
    except aiohttp.ClientError:
        return False


async def is_empty(ingest: RunningIngest, table: str) -> bool:
    return await ingest.count(table) == 0


# The first commit notes the blob, the second promises the job.
@pytest.mark.parametrize("kill_at", ["commit:before:1", "commit:after:1", "commit:before:2"])
async def test_a_kill_before_the_promise_leaves_nothing(
    database: Database, open_parts_for: OpenParts, tmp_path: Path, kill_at: str
) -> None:
    async with ingest_that_dies(database, tmp_path, kill_at) as upload_and_die:
        await upload_and_die()
    async with open_ingest(database, open_parts_for, MemoryBroker(), tmp_path, **QUICK) as ingest:
        await ingest.parts.blobs.sweep(older_than=0)
        await LooseBlobs(ingest.parts, older_than=0).sweep()
        assert await ingest.nothing_is_left()


async def test_a_kill_after_the_promise_loses_nothing(
    database: Database, open_parts_for: OpenParts, tmp_path: Path
) -> None:
    async with ingest_that_dies(database, tmp_path, "commit:after:2") as upload_and_die:
        await upload_and_die()
    broker = MemoryBroker()
    async with open_ingest(database, open_parts_for, broker, tmp_path, **QUICK) as ingest:
        await LooseBlobs(ingest.parts, older_than=0).sweep()
        event = await next_event(broker)
        upload_id = event.subject.removeprefix("upload:")
        assert (await ingest.get(f"/api/v1/uploads/{upload_id}/content")).body == CSV


async def test_a_promise_that_comes_after_the_sweep_is_not_made(
    database: Database, open_parts_for: OpenParts, tmp_path: Path
) -> None:
    """A process that hangs between its blob and its row must not acknowledge a blob that is gone."""
    async with open_ingest(database, open_parts_for, MemoryBroker(), tmp_path) as ingest:
        sweep = LooseBlobs(ingest.parts, older_than=0).sweep
        connection = await ingest.parts.pool.acquire()
        await connection.execute("BEGIN; LOCK TABLE ingest.uploads IN SHARE MODE")
        uploading = asyncio.create_task(ingest.post())
        await until(lambda: is_waiting(database))
        await sweep()
        await connection.execute("COMMIT")
        await ingest.parts.pool.release(connection)
        status, problem = await uploading
        assert (status, problem["code"]) == (503, "unavailable")
        assert await ingest.nothing_is_left()


async def is_waiting(database: Database) -> bool:
    """Whether somebody waits to insert an upload."""
    query = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'ingest.uploads'::regclass"
    return bool(await fetchval(database, query))


async def test_a_blob_that_cannot_be_removed_does_not_keep_others(
    database: Database, open_parts_for: OpenParts, tmp_path: Path
) -> None:
    async with open_ingest(database, open_parts_for, MemoryBroker(), tmp_path) as ingest:
        stuck, other = "uploads/acme/stuck", "uploads/acme/other"
        loose = LooseBlobs(ingest.parts, older_than=-1)
        for key in (stuck, other):
            await loose.note(key)
            await ingest.parts.blobs.put(key, CSV)
        (ingest.blobs / stuck).unlink()
        (ingest.blobs / stuck).mkdir()
        assert not await loose.sweep()
        assert await fetchval(database, "SELECT string_agg(blob, ' ') FROM ingest.loose_blobs") == stuck
        (ingest.blobs / stuck).rmdir()
        await loose.sweep()
        assert await is_empty(ingest, "ingest.loose_blobs")
        assert ingest.files() == []
