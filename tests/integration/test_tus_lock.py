"""Two replicas on one folder and one database: whoever asks for a file gets it, and whoever had it spoils nothing."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest
import pytest_asyncio
from aiohttp import ClientSession

from deploy.provision import Database
from events.blobs.chunk_work import CHUNK_BYTES
from events.broker.memory import MemoryBroker
from fixtures.ingest import Answer, RunningIngest, fetchval, open_ingest, until
from fixtures.log import as_owner
from fixtures.parts import OpenParts
from fixtures.tus import Tus

TAKEN_OVER_SECONDS = 2.0
NOBODY = "01a1fbea-6e13-7d45-ac0a-768cee331159"
FIRST = b"x" * CHUNK_BYTES  # what ingest writes as soon as it has it
REST = b"y" * 4
LENGTH = len(FIRST + REST)


@dataclass
class Sending:
    """A body whose rest comes when the test says so, or never."""

    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self) -> AsyncIterator[bytes]:
        yield FIRST
        await self.go_on.wait()
        yield REST


def open_replica(
    database: Database, open_parts_for: OpenParts, folder: Path
) -> AbstractAsyncContextManager[RunningIngest]:
    return open_ingest(
        database, open_parts_for, MemoryBroker(), folder, body_idle_seconds=30.0, max_upload_bytes=10 * CHUNK_BYTES
    )


@pytest_asyncio.fixture
async def replicas(database: Database, open_parts_for: OpenParts, tmp_path: Path) -> AsyncIterator[list[RunningIngest]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(open_replica(database, open_parts_for, tmp_path)) for _ in range(2)]


@pytest.fixture
def here(replicas: list[RunningIngest]) -> Tus:
    return Tus(replicas[0])


@pytest.fixture(params=["the same replica", "another replica"])
def there(request: pytest.FixtureRequest, replicas: list[RunningIngest]) -> Tus:
    return Tus(replicas[request.param == "another replica"])


async def began(tus: Tus, path: str, sending: Sending) -> "asyncio.Task[Answer]":
    """A PATCH whose first bytes are with ingest."""
    task = asyncio.create_task(tus.patch(path, 0, sending()))
    await first_bytes(tus, path.rpartition("/")[2])
    return task


async def first_bytes(tus: Tus, of_file: str = "*") -> None:
    segments = tus.ingest.blobs / "segments" / "acme"
    await until(lambda: any(file.stat().st_size == len(FIRST) for file in segments.glob(f"{of_file}.*")))


async def test_who_asks_for_the_offset_stops_whoever_sends(here: Tus, there: Tus) -> None:
    path = await here.created(LENGTH)
    stopped = await began(here, path, Sending())
    assert await there.offset(path) == len(FIRST), "within two seconds: after that, it would be a 423"
    answer = await stopped
    assert (answer.status, answer.json["code"]) == (423, "locked")
    assert (await there.patch(path, len(FIRST), REST)).status == 204
    upload = (await there.ingest.get(path.replace("files", "uploads"))).json
    assert upload["sha256"] == hashlib.sha256(FIRST + REST).hexdigest()
    assert await there.ingest.count("ingest.segments") == 0


async def test_who_sends_from_the_offset_before_has_to_ask_first(here: Tus, there: Tus) -> None:
    path = await here.created(LENGTH)
    stopped = await began(here, path, Sending())
    assert (await there.patch(path, 0, FIRST)).status == 409
    assert (await stopped).status == 423
    assert await there.offset(path) == len(FIRST)


async def test_who_deletes_a_file_stops_whoever_sends(here: Tus, there: Tus) -> None:
    path = await here.created(LENGTH)
    stopped = await began(here, path, Sending())
    assert (await there.ask("DELETE", path)).status == 204
    assert (await stopped).status in (410, 423)
    assert (await here.head(path)).status == (await there.head(path)).status == 410
    assert (there.ingest.files(), await there.ingest.count("ingest.segments")) == ([], 0)


async def test_a_creation_that_is_stopped_does_not_take_away_what_its_repetition_was_told(
    here: Tus, there: Tus
) -> None:
    """Its client heard nothing of the first, which hangs, and asked again under the same key. The first, that was
    stopped for it, ended the file: its client did not know of it, it thought."""
    key = {"Idempotency-Key": "mine"}
    stopped = asyncio.create_task(here.create(LENGTH, key, Sending()()))
    await first_bytes(here)
    again = await there.create(LENGTH, key)
    assert (again.status, again.headers["Upload-Offset"]) == (201, str(len(FIRST)))
    assert (await stopped).status == 423
    path = again.headers["Location"]
    assert await there.offset(path) == len(FIRST)
    assert (await there.patch(path, len(FIRST), REST)).headers["Millrace-Job-Id"]


async def test_many_who_want_one_file_all_get_it(here: Tus, there: Tus) -> None:
    path = await here.created(LENGTH)
    stopped = await began(here, path, Sending())
    offsets = await asyncio.gather(*(tus.offset(path) for tus in (here, there, here, there)))
    assert offsets == [len(FIRST)] * 4
    assert (await stopped).status == 423


async def test_who_has_lost_the_file_records_nothing(here: Tus, there: Tus) -> None:
    """He did not renew: his replica was stopped, or far from the database. His successor's offset stays true."""
    path = await here.created(LENGTH)
    sending = Sending()
    zombie = await began(here, path, sending)
    async with as_owner(here.ingest.database) as owner:
        await owner.execute("UPDATE ingest.files SET token = token + 100, holder = NULL")
    assert (await there.patch(path, 0, b"y" * 5)).status == 204
    sending.go_on.set()
    assert (await zombie).status == 423
    assert await there.offset(path) == 5
    assert (await there.patch(path, 5, b"y" * (LENGTH - 5))).status == 204
    assert (await there.ingest.get(f"{path.replace('files', 'uploads')}/content")).body == b"y" * LENGTH


async def test_a_holder_that_does_not_let_go_is_waited_for_only_so_long(here: Tus) -> None:
    path = await here.created(LENGTH)
    async with as_owner(here.ingest.database) as owner:
        await owner.execute("UPDATE ingest.files SET holder = $1, lease_until = now() + interval '1 hour'", NOBODY)
    answer = await here.patch(path, 0, b"x")
    assert (answer.status, answer.json["code"]) == (423, "locked")
    assert await fetchval(here.ingest.database, "SELECT wanted FROM ingest.files") is True


async def test_who_asks_while_a_file_is_completed_waits_for_that(here: Tus) -> None:
    path = await here.created(LENGTH)
    assert (await here.patch(path, 0, REST)).status == 204
    async with as_owner(here.ingest.database) as owner:
        at_work = "length = stored, holder = $1, lease_until = now() + interval '1 hour'"
        await owner.execute(f"UPDATE ingest.files SET {at_work}", NOBODY)
        asking = asyncio.create_task(here.head(path))
        assert not (await asyncio.wait([asking], timeout=TAKEN_OVER_SECONDS + 0.3))[0], (
            "copying a large file takes longer"
        )
        await owner.execute("UPDATE ingest.files SET holder = NULL")
    answer = await asking
    assert (answer.status, answer.headers["Upload-Offset"]) == (200, str(len(REST)))
    assert answer.headers["Millrace-Job-Id"]


async def test_bodies_on_their_way_hold_no_connection_to_the_database(here: Tus) -> None:
    pool = here.ingest.parts.pool
    paths = [await here.created(LENGTH) for _ in range(2 * pool.get_max_size())]
    sending = Sending()
    sent = [await began(here, path, sending) for path in paths]
    await until(lambda: pool.get_size() == pool.get_idle_size())
    assert (await here.create(5, body=b"12345")).status == 201
    sending.go_on.set()
    assert {answer.status for answer in await asyncio.gather(*sent)} == {204}


async def test_a_file_that_is_whole_is_told_to_be_however_long_its_completion_takes(
    replicas: list[RunningIngest], here: Tus
) -> None:
    """In an object store all of it is copied once. Clients that heard 423 meanwhile gave up a file that was there."""
    path = await here.created(4, {"Upload-Concat": "partial"})
    await here.patch(path, 0, b"1234")
    async with as_owner(here.ingest.database) as owner:
        await owner.execute(
            "UPDATE ingest.files SET holder = $1, lease_until = now() + interval '1 hour'", UUID(NOBODY)
        )
    assert await here.offset(path) == 4


@pytest.mark.parametrize("in_time", [True, False])
async def test_a_replica_that_stops_lets_who_sends_come_to_the_end_if_he_can(
    database: Database, open_parts_for: OpenParts, tmp_path: Path, in_time: bool
) -> None:
    """Everybody was interrupted as soon as it was told to stop, and was told, too, that another request had taken the
    file over: in each rolling restart, files that were on their way were cut off for nothing."""
    async with AsyncExitStack() as clients, AsyncExitStack() as service:
        grace = 60.0 if in_time else 2.2  # of which the last two seconds are for recording what has come
        replica = await service.enter_async_context(
            open_ingest(
                database, open_parts_for, MemoryBroker(), tmp_path, body_idle_seconds=30.0,
                max_upload_bytes=10 * CHUNK_BYTES, shutdown_grace=grace,
            )
        )  # fmt: skip
        here, sending = Tus(replace(replica, session=await clients.enter_async_context(ClientSession()))), Sending()
        path = await here.created(LENGTH)
        sent = await began(here, path, sending)
        stopping = asyncio.create_task(service.aclose())
        if in_time:
            await until(partial(_refuses, replica))
            sending.go_on.set()
            answer = await sent
            assert (answer.status, answer.headers["Upload-Offset"]) == (204, str(LENGTH))
        else:
            answer = await sent
            assert (answer.status, answer.json["code"], answer.headers["Retry-After"]) == (503, "unavailable", "1")
        await stopping
    async with open_replica(database, open_parts_for, tmp_path) as successor:
        assert await Tus(successor).offset(path) == (LENGTH if in_time else len(FIRST))


async def _refuses(replica: RunningIngest) -> bool:
    """Whether it lets nobody in any more."""
    try:
        _, writer = await asyncio.open_connection(replica.address.host, replica.address.port)
    except ConnectionError:
        return True
    writer.close()
    return False
