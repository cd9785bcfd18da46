"""Uploads are kept as long as their tenant wants them, and never taken from a job that needs them."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from deploy.provision import Database
from events.broker.memory import MemoryBroker
from events.envelope import event_of, stream_name
from events.ids import derived_id
from events.log.append import Appender, AppendRequest
from events.uploads import UploadDeleted
from fixtures.ingest import CSV, STRANGER, UPLOADER, RunningIngest, open_ingest, until
from fixtures.log import as_owner
from fixtures.parts import OpenParts
from fixtures.processor import OpenProcessor, Processor

OpenIngest = Callable[..., Any]


@pytest_asyncio.fixture
async def processor(open_processor: OpenProcessor) -> AsyncIterator[Processor]:
    async with open_processor() as processor:
        yield processor


@pytest.fixture
def open_beside(processor: Processor, database: Database, open_parts_for: OpenParts, tmp_path: Path) -> OpenIngest:
    """An ingest that has the processor's broker, database and blobs."""

    @asynccontextmanager
    async def opened(**settings: Any) -> AsyncIterator[RunningIngest]:
        chosen = {"retention_sweep_seconds": 0.05, "outbox_sweep_seconds": 0.05} | settings
        async with open_ingest(database, open_parts_for, processor.broker, tmp_path, **chosen) as ingest:
            yield ingest

    return opened


async def sent(ingest: RunningIngest, query: str = "", principal: Any = UPLOADER) -> tuple[str, UUID]:
    status, accepted = await ingest.post(CSV, query=query, principal=principal)
    assert status == 202, accepted
    return accepted["upload_id"], UUID(accepted["job_id"])


async def is_gone(ingest: RunningIngest, upload: str) -> bool:
    answer = await ingest.get(f"/api/v1/uploads/{upload}/content")
    return answer.status == 410


def told(processor: Processor, upload: str) -> list[str]:
    return [event.type for event in processor.watch.seen if event.subject == f"upload:{upload}"]


async def test_an_upload_whose_time_is_over_is_told_to_expire_and_then_deleted_with_its_bytes(
    open_beside: OpenIngest, processor: Processor
) -> None:
    async with open_beside(retention_seconds=0) as ingest:
        upload, job = await sent(ingest)
        assert (await processor.finished(job))["status"] == "COMPLETED"
        await until(lambda: is_gone(ingest, upload))
        await until(lambda: ingest.files() == [])
        assert told(processor, upload) == ["upload.completed", "upload.expired", "upload.deleted"]
        refused = await ingest.get(f"/api/v1/uploads/{upload}")
        assert (refused.status, refused.json["code"], refused.headers["Content-Type"]) == (
            410,
            "gone",
            "application/problem+json",
        )
        assert await ingest.count("ingest.loose_blobs") == 0
        metrics = (await ingest.ask("GET", "/metrics")).body.decode()
        assert 'millrace_uploads_deleted_total{because="expired"} 1.0' in metrics
        assert f'millrace_upload_bytes_deleted_total{{because="expired"}} {len(CSV)}.0' in metrics


async def test_an_upload_stays_as_long_as_a_job_needs_it_and_no_other_begins_on_it(
    open_beside: OpenIngest, processor: Processor
) -> None:
    await processor.publish(
        {
            "name": "asks-first",
            "inputs": {"blob": {"type": "string"}},
            "steps": {
                "ask": {"uses": "approve", "with": {"question": "Now?"}},
                "read": {"uses": "csv-profile", "depends": ["ask"], "with": {"blob": "${{ inputs.blob }}"}},
            },
        }
    )
    async with open_beside(retention_seconds=None) as ingest:
        upload, first = await sent(ingest)
        await processor.finished(first)
        waiting = await processor.start("asks-first", upload_id=upload, key="mine")
        await processor.watch.became(waiting, "ask", "WAITING")
    async with open_beside(retention_seconds=0) as ingest:
        await processor.watch.nth(f"upload:{upload}", "upload.expired", 1)
        wish = {"workflow": "asks-first", "upload_id": upload}
        status, refused = await processor.post("/jobs", wish)
        assert (status, refused["code"]) == (410, "gone")
        status, again = await processor.post("/jobs", wish, key="mine")
        assert (status, again["id"]) == (202, str(waiting)), "what was acknowledged is acknowledged again"
        await until(lambda: _was_told(ingest))
        assert (await ingest.get(f"/api/v1/uploads/{upload}/content")).body == CSV
        await processor.say(waiting, "signals/ask", {"approved": True})
        assert (await processor.finished(waiting))["status"] == "COMPLETED"
        await until(lambda: is_gone(ingest, upload))


async def _was_told(ingest: RunningIngest) -> bool:
    """And has asked for the deletion, to no avail."""
    return await ingest.count("ingest.uploads WHERE told_at < now() - interval '0.2 seconds'") == 1


async def test_tenants_may_keep_theirs_for_another_time_than_the_default(
    open_beside: OpenIngest, processor: Processor
) -> None:
    async with open_beside(retention_seconds=0, retention_seconds_of={"other": None, "third": 86400}) as ingest:
        kept, job = await sent(ingest, principal=STRANGER)
        await processor.finished(job)
        upload, job = await sent(ingest)
        await processor.finished(job)
        await until(lambda: is_gone(ingest, upload))
        assert told(processor, kept) == ["upload.completed"]
        assert (await ingest.get(f"/api/v1/uploads/{kept}/content", principal=STRANGER)).body == CSV


async def test_a_tenant_whose_uploads_are_not_kept_at_all_may_be_the_only_one_with_a_time(
    open_beside: OpenIngest, processor: Processor
) -> None:
    """A time of zero seconds was taken for none, so that nothing of anybody's expired."""
    async with open_beside(retention_seconds=None, retention_seconds_of={"acme": 0}) as ingest:
        upload, job = await sent(ingest)
        await processor.finished(job)
        await until(lambda: is_gone(ingest, upload))


async def test_a_kill_between_the_log_and_the_row_is_only_a_delay(
    open_beside: OpenIngest, processor: Processor
) -> None:
    """The log has heard that the upload is deleted, and ingest was killed before it could write that down."""
    async with open_beside() as ingest:
        upload, job = await sent(ingest)
        await processor.finished(job)
    said = UploadDeleted(upload_id=UUID(upload), because="expired")
    event = event_of(
        said,
        id=derived_id(UUID(upload), "upload.deleted"),
        stream=stream_name("upload", UUID(upload)),
        tenant="acme",
        source="/millrace/ingest",
    )
    async with as_owner(ingest.database) as owner:
        await owner.execute("UPDATE ingest.uploads SET expired_at = now(), told_at = now(), ask_at = now()")
    async with Appender(processor.parts.pool, function="processor.append") as appender:
        await appender.append(AppendRequest("acme", event.subject, (event,)))
    async with open_beside() as ingest:
        await until(lambda: is_gone(ingest, upload))
        await until(lambda: ingest.files() == [])


async def test_a_client_deletes_an_upload_and_the_log_hears_of_it_after_its_completion(
    database: Database, open_parts_for: OpenParts, tmp_path: Path, open_processor: OpenProcessor
) -> None:
    """Nobody listens to ingest while both are said: the later may come first."""
    broker = MemoryBroker()
    async with open_ingest(
        database, open_parts_for, broker, tmp_path, outbox_sweep_seconds=0.05, outbox_retry_seconds=0.1
    ) as ingest:
        upload, job = await sent(ingest)
        await broker.purge("millrace.intake")
        assert (await ingest.ask("DELETE", f"/api/v1/uploads/{upload}")).status == 204
        assert await is_gone(ingest, upload)
        assert ingest.files() == []
        async with open_processor(broker) as processor:
            await processor.watch.nth(f"upload:{upload}", "upload.deleted", 1)
            assert told(processor, upload) == ["upload.completed", "upload.deleted"]
            ended = await processor.finished(job)
            assert (ended["status"], ended["error"]["code"]) == ("FAILED", "input_missing")
            assert (await ingest.ask("DELETE", f"/api/v1/uploads/{upload}")).status == 204
            await until(lambda: _outbox_is_empty(ingest))
        assert told(processor, upload) == ["upload.completed", "upload.deleted"]


async def _outbox_is_empty(ingest: RunningIngest) -> bool:
    return await ingest.count("ingest.outbox") == 0
