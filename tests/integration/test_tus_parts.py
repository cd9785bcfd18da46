"""Files sent in parts side by side: `Upload-Concat`."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from deploy.provision import Database
from events.broker.memory import MemoryBroker
from fixtures.ingest import LIMIT, STRANGER, Answer, RunningIngest, fetchval, open_ingest, until
from fixtures.log import as_owner
from fixtures.parts import OpenParts
from fixtures.tus import Tus, metadata

FILES = "/api/v1/files"
PART = {"Upload-Concat": "partial"}


@pytest_asyncio.fixture
async def ingest(database: Database, open_parts_for: OpenParts, tmp_path: Path) -> AsyncIterator[RunningIngest]:
    async with open_ingest(
        database, open_parts_for, MemoryBroker(), tmp_path, quota_bytes_per_day=3 * LIMIT
    ) as running:
        yield running


async def part(tus: Tus, content: bytes) -> str:
    return str((await tus.create(len(content), PART, content)).headers["Location"])


async def join(tus: Tus, *parts: str, **said: str) -> Answer:
    return await tus.ask("POST", FILES, {"Upload-Concat": f"final;{' '.join(parts)}", **metadata(**said)})


async def test_parts_become_one_upload_in_the_order_in_which_they_are_named(ingest: RunningIngest, tus: Tus) -> None:
    contents = [os.urandom(30_000), b"", b"b" * 10, os.urandom(20_000)]
    paths = await asyncio.gather(*(part(tus, content) for content in contents))
    await tus.patch(paths[0], 30_000)
    assert await ingest.count("ingest.uploads") == 0
    assert (await tus.head(paths[2])).headers["Upload-Concat"] == "partial"

    named = [paths[0], f"https://files.example:8443{paths[1]}", paths[2].removeprefix("/api/v1"), paths[3]]
    final = await join(tus, *named, filename="whole.bin")

    whole, path = b"".join(contents), final.headers["Location"]
    assert (final.status, final.headers["Upload-Length"]) == (201, str(len(whole)))
    upload = (await ingest.get(path.replace("files", "uploads"))).json
    assert (upload["sha256"], upload["filename"]) == (hashlib.sha256(whole).hexdigest(), "whole.bin")
    head = (await tus.head(path)).headers
    assert (head["Upload-Concat"], head["Upload-Offset"]) == (f"final;{' '.join(named)}", str(len(whole)))
    assert (await tus.patch(path, len(whole), b"x")).status == 403
    assert ingest.files() == [f"uploads/acme/{upload['id']}"]
    assert await ingest.count("ingest.segments") == await ingest.count("ingest.reservations") == 0
    used = await fetchval(ingest.database, "SELECT bytes FROM ingest.usage WHERE period = 'day'")
    assert used == len(whole), "each byte is counted once"


async def test_asking_again_for_the_same_file_gives_the_same_upload(ingest: RunningIngest, tus: Tus) -> None:
    paths = [await part(tus, b"one, "), await part(tus, b"two")]
    answers = await asyncio.gather(*(join(tus, *paths) for _ in range(4)))
    assert {answer.status for answer in answers} == {201}
    assert len({answer.headers["Location"] for answer in answers}) == 1
    assert await ingest.count("ingest.uploads") == await ingest.count("ingest.outbox") == 1
    assert await tus.offset(paths[0]) == 5, "whoever resumes finds that it has sent all of it"

    for other in (await join(tus, paths[0]), await join(tus, *paths, filename="another")):
        assert (other.status, other.json["code"]) == (410, "gone")


async def test_asking_again_when_the_parts_have_expired_gives_the_same_upload(ingest: RunningIngest, tus: Tus) -> None:
    paths = [await part(tus, b"one, "), await part(tus, b"two")]
    first = await join(tus, *paths)
    async with as_owner(ingest.database) as owner:
        await owner.execute("UPDATE ingest.files SET expires_at = now() - interval '1 day'")
    again = await join(tus, *paths)
    assert (again.status, again.headers["Location"]) == (201, first.headers["Location"])


async def test_a_key_that_is_used_for_something_else_at_the_same_time_is_refused(
    ingest: RunningIngest, tus: Tus
) -> None:
    """It was a 404: nothing was made, and the file was looked for all the same."""
    path = await part(tus, b"12345")
    async with as_owner(ingest.database) as owner:
        async with owner.transaction():
            await owner.execute(
                "INSERT INTO ingest.files (tenant, id, workflow, options, expires_at, idempotency_key, asked) VALUES "
                "('acme', gen_random_uuid(), 'w', '{}', now(), encode(sha256('mine'), 'hex'), 'something else')"
            )
            asked = {"Upload-Concat": f"final;{path}", "Idempotency-Key": "mine"}
            joining = asyncio.create_task(tus.ask("POST", FILES, asked))
            await until(lambda: ingest.count("pg_locks WHERE NOT granted"))
        refused = await joining
    assert (refused.status, refused.json["code"]) == (422, "idempotency_key_reused")
    assert (await join(tus, path)).status == 201, "the part was not taken"


async def test_what_cannot_be_joined_is_refused_and_takes_nothing(ingest: RunningIngest, tus: Tus) -> None:
    whole, unfinished = await part(tus, b"12345"), await tus.created(5, PART)
    plain = await tus.created(5)
    theirs = await part(Tus(ingest, STRANGER), b"12345")
    unknown = f"{FILES}/01a1fbea-6e13-7d45-ac0a-768cee331159"
    for parts, status in (
        ([whole, unfinished], 409),
        ([whole, plain], 400),
        ([whole, theirs], 400),
        ([whole, unknown], 400),
        ([whole, whole], 400),
        ([whole, "", plain], 400),
        ([whole, "https://evil.example/x"], 400),
        ([whole, f"{whole}/../{whole}"], 400),
        ([""], 400),
        ([await part(tus, b"")], 422),
        ([whole, await part(tus, b"x" * (LIMIT - 4))], 413),
    ):
        assert (await join(tus, *parts)).status == status, parts
    for headers in (
        {"Upload-Concat": "final"},
        {"Upload-Concat": "partial;x"},
        {"Upload-Concat": f"final;{whole}", "Upload-Length": "5"},
    ):
        assert (await tus.ask("POST", FILES, headers)).status == 400
    assert (await join(tus, whole)).status == 201
