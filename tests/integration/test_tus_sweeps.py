"""Files that are left behind: expired, half deleted, whole but never recorded. Nothing stays of them, and nothing that
was told to be stored is lost."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from deploy.provision import Database
from events.broker.memory import MemoryBroker
from fixtures.ingest import RunningIngest, fetchval, open_ingest, until
from fixtures.log import as_owner
from fixtures.parts import OpenParts
from fixtures.tus import Tus

DAY = 1000


@pytest_asyncio.fixture
async def ingest(database: Database, open_parts_for: OpenParts, tmp_path: Path) -> AsyncIterator[RunningIngest]:
    async with open_ingest(
        database,
        open_parts_for,
        MemoryBroker(),
        tmp_path,
        quota_bytes_per_day=DAY,
        file_sweep_seconds=0.05,
        body_idle_seconds=30.0,
    ) as running:
        yield running


async def run_out(ingest: RunningIngest) -> None:
    async with as_owner(ingest.database) as owner:
        await owner.execute("UPDATE ingest.files SET expires_at = now() - interval '1 second'")


async def used(ingest: RunningIngest) -> int:
    return int(await fetchval(ingest.database, "SELECT coalesce(sum(bytes), 0) FROM ingest.usage WHERE period = 'day'"))


async def test_a_file_that_nobody_continues_expires_with_its_bytes_and_its_quota(
    ingest: RunningIngest, tus: Tus
) -> None:
    path, part = await tus.created(600), await tus.created(4, {"Upload-Concat": "partial"})
    await tus.patch(path, 0, b"x" * 100)
    await tus.patch(part, 0, b"1234")
    assert await used(ingest) == 604
    assert (await tus.create(397)).status == 429
    await run_out(ingest)
    await until(lambda: _no_segments(ingest))
    assert (await tus.head(path)).status == (await tus.patch(path, 100, b"x")).status == 410
    assert (await tus.head(part)).status == 410
    assert (ingest.files(), await used(ingest)) == ([], 0)
    assert (await tus.create(DAY)).status == 201


async def _no_segments(ingest: RunningIngest) -> bool:
    return await ingest.count("ingest.segments") == 0


async def test_bytes_that_cannot_be_removed_do_not_keep_others(ingest: RunningIngest, tus: Tus) -> None:
    stuck, other = await tus.created(600), await tus.created(300)
    for path in (stuck, other):
        await tus.patch(path, 0, b"x" * 100)
    (segment,) = (ingest.blobs / "segments" / "acme").glob(f"{stuck.rpartition('/')[2]}.*")
    segment.unlink()
    segment.mkdir()
    await run_out(ingest)
    await until(lambda: _only_segment_is_of(ingest, stuck))
    segment.rmdir()
    await until(lambda: _no_segments(ingest))


async def _only_segment_is_of(ingest: RunningIngest, path: str) -> bool:
    left = await fetchval(ingest.database, "SELECT string_agg(file::text, ' ') FROM ingest.segments")
    return bool(left == path.rpartition("/")[2])


async def test_what_was_promised_is_kept_although_its_reservation_was_lost_and_the_quota_is_used_up(
    ingest: RunningIngest, tus: Tus
) -> None:
    path = await tus.created(600)
    await tus.patch(path, 0, b"x" * 599)
    async with as_owner(ingest.database) as owner:
        await owner.fetchval("SELECT ingest.settle(upload_id, 0) FROM ingest.reservations")
    assert (await tus.create(DAY)).status == 201
    assert (await tus.patch(path, 599, b"x")).headers["Millrace-Job-Id"]
    assert await used(ingest) == DAY + 600


async def test_a_file_that_is_being_sent_does_not_expire(ingest: RunningIngest, tus: Tus) -> None:
    go_on = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"12345"
        await go_on.wait()
        yield b"67890"

    path = await tus.created(10)
    sending = asyncio.create_task(tus.patch(path, 0, slowly()))
    await until(lambda: ingest.count("ingest.segments"))
    await run_out(ingest)
    other = await tus.created(5)
    await run_out(ingest)
    await until(lambda: ingest.count("ingest.files WHERE deleted_at IS NOT NULL"))
    assert (await tus.head(other)).status == 410
    go_on.set()
    assert (await sending).status == 204


async def test_a_length_that_is_said_late_is_counted_as_it_comes(ingest: RunningIngest, tus: Tus) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield b"x" * 300

    path = await tus.created(None)
    refused = await tus.patch(path, 0, pieces())
    assert (refused.status, refused.json["code"]) == (429, "quota_exceeded")
    stored = await tus.offset(path)
    assert stored <= DAY
    assert (await tus.patch(path, stored, headers={"Upload-Length": str(DAY + 1)})).status == 429
    assert (await tus.patch(path, stored, b"x" * (DAY - stored), {"Upload-Length": str(DAY)})).status == 204
    assert (await used(ingest), await ingest.count("ingest.reservations")) == (DAY, 0)


async def test_a_file_that_was_whole_when_ingest_was_killed_becomes_an_upload_without_its_client(
    ingest: RunningIngest, tus: Tus
) -> None:
    """Its client was told that all is stored, and has gone."""
    path = await tus.created(10)
    await tus.patch(path, 0, b"12345")
    async with as_owner(ingest.database) as owner:
        await owner.execute("UPDATE ingest.files SET length = 5")
    await until(lambda: ingest.count("ingest.uploads"))
    upload = (await ingest.get(path.replace("files", "uploads"))).json
    assert upload["sha256"] == hashlib.sha256(b"12345").hexdigest()
    assert await used(ingest) == 5


async def test_files_that_cannot_be_completed_do_not_keep_others_from_it(ingest: RunningIngest, tus: Tus) -> None:
    """Their bytes are lost. The sweep tried those that it found first again and again, and never came to the others."""
    async with as_owner(ingest.database) as owner:
        await owner.execute(
            "WITH lost AS (INSERT INTO ingest.files (tenant, id, length, stored, workflow, options, expires_at) "
            "SELECT 'acme', gen_random_uuid(), 5, 5, 'csv-profile', '{}', now() - interval '1 day' "
            "FROM generate_series(1, 10) RETURNING id) "
            "INSERT INTO ingest.segments (key, tenant, file, starts, bytes) "
            "SELECT 'segments/acme/' || id, 'acme', id, 0, 5 FROM lost"
        )
        path = await tus.created(10)
        await tus.patch(path, 0, b"12345")
        await owner.execute("UPDATE ingest.files SET length = 5 WHERE id = $1", path.rpartition("/")[2])
    await until(lambda: ingest.count("ingest.uploads"))


async def test_what_has_ended_long_ago_is_forgotten(ingest: RunningIngest, tus: Tus) -> None:
    path = await tus.created(10)
    await tus.ask("DELETE", path)
    assert (await tus.head(path)).status == 410
    async with as_owner(ingest.database) as owner:
        await owner.execute("UPDATE ingest.files SET deleted_at = now() - interval '8 days'")
    await until(lambda: _is_forgotten(ingest))
    assert (await tus.head(path)).status == 404


async def _is_forgotten(ingest: RunningIngest) -> bool:
    return await ingest.count("ingest.files") == 0
