"""How many bytes a tenant may upload in a day and in a month: exact, and refused before they are read."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from deploy.provision import Database
from events.broker.memory import MemoryBroker
from fixtures.ingest import STRANGER, RunningIngest, fetchval, open_ingest, until
from fixtures.log import as_owner
from fixtures.parts import OpenParts
from ingest.quota import Quota
from ingest.settings import IngestSettings

DAY, MONTH = 1000, 1500
FORM = {"Content-Type": "multipart/form-data; boundary=xx"}


@pytest_asyncio.fixture
async def ingest(database: Database, open_parts_for: OpenParts, tmp_path: Path) -> AsyncIterator[RunningIngest]:
    async with open_ingest(
        database,
        open_parts_for,
        MemoryBroker(),
        tmp_path,
        quota_bytes_per_day=DAY,
        quota_bytes_per_month=MONTH,
        body_idle_seconds=30.0,  # no test here is about it
    ) as running:
        yield running


async def used(ingest: RunningIngest, period: str = "day", tenant: str = "acme") -> int:
    query = "SELECT coalesce(sum(bytes), 0) FROM ingest.usage WHERE period = $1 AND tenant = $2"
    return int(await fetchval(ingest.database, query, period, tenant))


async def pieces(*sizes: int) -> AsyncIterator[bytes]:
    for size in sizes:
        yield b"x" * size


async def test_a_tenant_may_upload_its_quota_to_the_last_byte_and_no_more(ingest: RunningIngest) -> None:
    assert (await ingest.post(b"x" * 600))[0] == 202
    status, problem = await ingest.post(b"x" * 401)
    assert (status, problem["code"]) == (429, "quota_exceeded")
    assert problem["violated-policies"] == ["bytes-per-day"]
    assert (await ingest.post(b"x" * 400))[0] == 202
    assert (await ingest.post(b"x"))[0] == 429
    assert (await used(ingest), await used(ingest, "month")) == (DAY, DAY)
    assert (await ingest.post(b"x" * 1000, principal=STRANGER))[0] == 202, "another tenant has its own"


async def test_the_month_is_counted_over_its_days(ingest: RunningIngest) -> None:
    assert (await ingest.post(b"x" * 1000))[0] == 202
    async with as_owner(ingest.database) as owner:
        await owner.execute("UPDATE ingest.usage SET starts = starts - 1 WHERE period = 'day'")
    answer = await ingest.ask("POST", "/api/v1/uploads", body=b"x" * 501)
    assert answer.json["violated-policies"] == ["bytes-per-month"]
    assert 0 < int(answer.headers["Retry-After"]) <= 31 * 86_400
    assert (await ingest.post(b"x" * 500))[0] == 202


async def test_a_body_that_says_its_length_is_refused_before_it_is_read(ingest: RunningIngest) -> None:
    answer = await ingest.raw(ingest.head("Content-Length: 1001", "Content-Type: text/csv"))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 429 ")
    assert b"connection: close" in head.lower()
    assert json.loads(body)["type"].endswith("#quota-exceeded")
    assert await ingest.nothing_is_left()


async def test_a_body_without_a_length_is_refused_at_the_byte_that_is_too_many(ingest: RunningIngest) -> None:
    assert (await ingest.post(pieces(300, 300, 400)))[0] == 202
    assert (await ingest.post(pieces(1)))[0] == 429
    assert await used(ingest) == DAY


async def test_what_is_not_taken_is_free_again(ingest: RunningIngest) -> None:
    form = b'--xx\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc\r\n--xx--\r\n'
    assert (await ingest.post(form, headers=FORM))[0] == 202
    assert await used(ingest) == 3, "a form's frame is nobody's bytes"
    assert (await ingest.post(b"x" * 500, query="?filename=%00"))[0] == 422
    assert (await ingest.post(b"no form" * 10, headers=FORM))[0] == 422
    _, writer = await asyncio.open_connection(ingest.address.host, ingest.address.port)
    writer.write(ingest.head("Content-Length: 900") + b"x")
    await until(lambda: _is(used(ingest), 903))
    writer.transport.abort()
    await until(lambda: _is(used(ingest), 3))
    assert await ingest.count("ingest.reservations") == 0


async def _is(found: Any, expected: int) -> bool:
    return bool(await found == expected)


async def test_uploads_at_the_same_time_share_the_quota_to_the_last_one_that_fits(ingest: RunningIngest) -> None:
    found = await asyncio.gather(*(ingest.post(b"x" * 90) for _ in range(30)))
    assert [status for status, _ in found].count(202) == 11
    assert (await used(ingest), await ingest.count("ingest.uploads")) == (990, 11)


async def test_uploads_that_do_not_say_their_length_do_not_pass_the_quota_together(ingest: RunningIngest) -> None:
    """They reserve ahead, so some that would have fitted are refused meanwhile; none is taken that does not fit."""
    found = await asyncio.gather(*(ingest.post(pieces(45, 45)) for _ in range(30)))
    taken = [status for status, _ in found].count(202)
    assert 1 <= taken <= 11
    assert await used(ingest) == 90 * taken
    assert (await ingest.post(b"x" * (DAY - 90 * taken)))[0] == 202, "what was reserved ahead is free again"


async def test_what_was_acknowledged_is_acknowledged_again_when_the_quota_is_used_up(ingest: RunningIngest) -> None:
    key = {"Idempotency-Key": "mine"}
    status, first = await ingest.post(b"x" * 1000, headers=key)
    assert status == 202
    assert await ingest.post(b"x" * 1000, headers=key) == (202, first)
    assert await used(ingest) == DAY


async def test_what_a_killed_process_had_reserved_is_free_again(ingest: RunningIngest) -> None:
    settings = IngestSettings.model_construct(quota_bytes_per_day=DAY, quota_bytes_per_month=None)
    killed, living = Quota(ingest.parts.pool, settings), Quota(ingest.parts.pool, settings)
    upload = await fetchval(ingest.database, "SELECT gen_random_uuid()")
    await killed.reserve(upload, "acme", least=900, most=900)
    assert not await living.renew()
    assert (await ingest.post(b"x" * 200))[0] == 429
    async with as_owner(ingest.database) as owner:
        await owner.execute("UPDATE ingest.reservations SET due_at = now() - interval '1 s'")
    assert await living.renew()
    assert (await ingest.post(b"x" * 200))[0] == 202


async def test_who_lost_its_reservation_is_judged_anew(ingest: RunningIngest) -> None:
    reader, writer = await asyncio.open_connection(ingest.address.host, ingest.address.port)
    writer.write(ingest.head("Content-Length: 900") + b"x")
    await until(lambda: _is(used(ingest), 900))
    async with as_owner(ingest.database) as owner:
        await owner.fetchval("SELECT ingest.settle(upload_id, 0) FROM ingest.reservations")
    assert (await ingest.post(b"x" * 101))[0] == 202
    writer.write(b"x" * 899)
    assert b" 429 " in await reader.readline()
    writer.close()
    assert (await used(ingest), await ingest.count("ingest.uploads")) == (101, 1)


async def test_without_a_quota_nothing_is_counted(
    database: Database, open_parts_for: OpenParts, tmp_path: Path
) -> None:
    async with open_ingest(database, open_parts_for, MemoryBroker(), tmp_path) as ingest:
        assert (await ingest.post(b"x" * 5000))[0] == 202
        assert await ingest.count("ingest.usage") == 0
