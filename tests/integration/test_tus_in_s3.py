"""Uploads whose bytes lie in S3: by tus and in one body, whole, interrupted, given up, and while S3 is away."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import pytest
import pytest_asyncio

from deploy.provision import Database
from events.blobs.blobs import open_blobs
from fixtures.ingest import RunningIngest, open_ingest, until
from fixtures.log import as_owner
from fixtures.parts import OpenParts
from fixtures.s3 import Bucket
from fixtures.tus import Tus

MEGABYTE = 1 << 20
CONTENT = os.urandom(20 * MEGABYTE + 7)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
ORPHAN = "segments/acme/01a1fbea-6e13-7d45-ac0a-768cee331159.0.1"


@pytest_asyncio.fixture
async def ingest(
    database: Database, open_parts_for: OpenParts, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[RunningIngest]:
    monkeypatch.setenv("MILLRACE_BLOBS_URL", bucket.url)
    async with open_blobs(bucket.url).growing(ORPHAN) as segment:  # of one who was stopped until all was over
        await segment.write(b"late")
        await (await segment.seal()).make_durable()
    async with open_ingest(
        database,
        open_parts_for,
        "memory://",
        tmp_path,
        max_upload_bytes=2 * len(CONTENT),
        file_sweep_seconds=0.1,
        body_idle_seconds=20.0,
    ) as running:
        yield running


async def only(bucket: Bucket, *paths: str) -> bool:
    """Whether these uploads are all that lies there."""
    wanted = [f"kept/uploads/acme/{path.rpartition('/')[2]}" for path in paths]
    return await bucket.keys() == sorted(wanted) and await bucket.unfinished() == []


async def content_of(ingest: RunningIngest, path: str, *, part: str | None = None) -> bytes:
    answer = await ingest.get(f"{path.replace('files', 'uploads')}/content", headers={"Range": part} if part else {})
    assert answer.status == (206 if part else 200)
    return answer.body


async def test_an_upload_in_one_body_lies_in_s3_and_can_be_read_in_ranges(
    ingest: RunningIngest, bucket: Bucket
) -> None:
    status, upload = await ingest.post(BytesIO(CONTENT))
    assert (status, upload["sha256"]) == (202, SHA256)
    path = f"/api/v1/uploads/{upload['upload_id']}"
    assert await content_of(ingest, path) == CONTENT
    assert await content_of(ingest, path, part="bytes=9000000-9000004") == CONTENT[9_000_000:9_000_005]
    await until(lambda: only(bucket, path))
    assert (await ingest.ask("DELETE", path)).status == 204
    await until(lambda: only(bucket))


async def test_a_file_in_pieces_becomes_one_object_and_its_segments_go(
    ingest: RunningIngest, tus: Tus, bucket: Bucket
) -> None:
    path, cuts = await tus.created(len(CONTENT)), (0, 3, 9 * MEGABYTE, len(CONTENT))
    for begin, end in pairwise(cuts):
        assert (await tus.patch(path, begin, BytesIO(CONTENT[begin:end]))).status == 204
        assert await tus.offset(path) == end
    assert hashlib.sha256(await content_of(ingest, path)).hexdigest() == SHA256
    await until(lambda: only(bucket, path))


async def test_parts_that_come_side_by_side_become_one_object(ingest: RunningIngest, tus: Tus, bucket: Bucket) -> None:
    half = len(CONTENT) // 2
    parts = [await tus.created(size, {"Upload-Concat": "partial"}) for size in (half, len(CONTENT) - half)]
    sent = await asyncio.gather(
        tus.patch(parts[0], 0, BytesIO(CONTENT[:half])), tus.patch(parts[1], 0, BytesIO(CONTENT[half:]))
    )
    assert [answer.status for answer in sent] == [204, 204]
    final = await tus.ask("POST", "/api/v1/files", {"Upload-Concat": f"final;{' '.join(parts)}"})
    assert final.status == 201
    path = str(final.headers["Location"])
    assert hashlib.sha256(await content_of(ingest, path)).hexdigest() == SHA256
    await until(lambda: only(bucket, path))


async def test_a_refusal_by_s3_is_a_503_and_the_client_goes_on_when_it_is_over(
    ingest: RunningIngest, tus: Tus, bucket: Bucket
) -> None:
    path = await tus.created(9)
    assert (await tus.patch(path, 0, b"12345")).status == 204
    await bucket.deny("PutObject")
    refused = await tus.patch(path, 5, b"6789")
    assert (refused.status, refused.json["code"]) == (503, "storage_unavailable")
    status, problem = await ingest.post(b"a,b\n")
    assert (status, problem["code"]) == (503, "storage_unavailable")
    await bucket.allow_again()
    assert await tus.offset(path) == 5
    assert (await tus.patch(path, 5, b"6789")).status == 204
    await until(lambda: only(bucket, path))


async def test_a_file_that_is_given_up_leaves_nothing(ingest: RunningIngest, tus: Tus, bucket: Bucket) -> None:
    ended, forgotten = await tus.created(len(CONTENT)), await tus.created(len(CONTENT))
    for path in (ended, forgotten):
        assert (await tus.patch(path, 0, BytesIO(CONTENT[: 9 * MEGABYTE]))).status == 204
    assert (await tus.ask("DELETE", ended)).status == 204
    async with as_owner(ingest.database) as owner:
        await owner.execute("UPDATE ingest.files SET expires_at = now() - interval '1 second'")
    await until(lambda: only(bucket))


async def test_segments_that_no_row_knows_are_removed_and_others_stay(
    ingest: RunningIngest, tus: Tus, bucket: Bucket
) -> None:
    """A replica that was stopped in the middle of a request to the store can make one when all is over."""
    path = await tus.created(9)
    assert (await tus.patch(path, 0, b"12345")).status == 204
    await until(lambda: is_gone(bucket, ORPHAN))
    assert (await tus.patch(path, 5, b"6789")).status == 204
    assert await content_of(ingest, path) == b"123456789"


async def is_gone(bucket: Bucket, segment: str) -> bool:
    return not any(segment in key for key in await bucket.keys())
