"""A file whose joining and hashing takes longer than anybody waits: it becomes an upload all the same, once, and each
request that asks for it meanwhile gets an answer that is true."""

import asyncio
import hashlib
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest_asyncio

from deploy.provision import Database
from events.blobs.blobs import Blobs
from events.blobs.segments import Hash, SegmentPart
from events.broker.memory import MemoryBroker
from fixtures.ingest import RunningIngest, fetchval, open_ingest, until
from fixtures.log import as_owner
from fixtures.parts import OpenParts
from fixtures.tus import Tus

FIRST, REST = b"name,age\n", b"ada,36\n"
ALL = FIRST + REST
WAIT = 0.2  # seconds; a request's patience
LEASE = 1.5
_FAILING = """
CREATE FUNCTION ingest.fails() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE 'somebody was faster' USING ERRCODE = 'serialization_failure'; END $$;
CREATE TRIGGER fails BEFORE INSERT ON ingest.uploads FOR EACH ROW EXECUTE FUNCTION ingest.fails();
"""


class SlowBlobs(Blobs):
    """The real ones, behind a gate."""

    def __init__(self, real: Blobs) -> None:
        self.__dict__.update(real.__dict__)
        self.gate = asyncio.Event()
        self.joins = self.hashed = 0
        self.is_late = False  # a join has read all before the gate, and has only to be visible

    async def join(self, parts: Sequence[SegmentPart], into: str) -> None:
        self.joins += 1
        if self.is_late:
            read = b"".join([await self.get(part.key) for part in parts])
            await self.gate.wait()
            await self.put(into, read)
        else:
            await self.gate.wait()
            await super().join(parts, into)

    async def hash(self, key: str, into: Hash) -> None:
        self.hashed += 1
        await super().hash(key, into)


class Replica:
    """An ingest on slow blobs."""

    def __init__(self, database: Database, open_parts_for: OpenParts, folder: Path) -> None:
        self._wiring = database, open_parts_for, MemoryBroker(), folder
        self.blobs: SlowBlobs

    def open(self) -> AbstractAsyncContextManager[RunningIngest]:
        return open_ingest(
            *self._wiring,
            through=self._slow,
            file_completion_seconds=WAIT,
            file_sweep_seconds=0.1,
            body_idle_seconds=30,
        )

    def _slow(self, real: Blobs) -> Blobs:
        self.blobs = SlowBlobs(real)
        return self.blobs


@pytest_asyncio.fixture
async def replica(database: Database, open_parts_for: OpenParts, tmp_path: Path) -> Replica:
    return Replica(database, open_parts_for, tmp_path)


@pytest_asyncio.fixture
async def other(database: Database, open_parts_for: OpenParts, tmp_path: Path) -> Replica:
    return Replica(database, open_parts_for, tmp_path)


async def whole(tus: Tus) -> str:
    """A file that two PATCHes have made whole, and that is not an upload yet."""
    path = await tus.created(len(ALL))
    await tus.patch(path, 0, FIRST)
    last = await tus.patch(path, len(FIRST), REST)
    assert (last.status, last.headers["Upload-Offset"]) == (204, str(len(ALL))), "all of it is durable"
    assert "Millrace-Job-Id" not in last.headers, "nobody has promised it yet"
    return path


async def is_an_upload(ingest: RunningIngest, path: str) -> bool:
    return (await ingest.get(path.replace("files", "uploads"))).status == 200


async def test_every_request_is_answered_while_one_task_makes_the_upload(replica: Replica) -> None:
    async with replica.open() as ingest:
        tus = Tus(ingest)
        path = await whole(tus)
        head = await tus.head(path)
        assert (head.status, head.headers["Upload-Offset"]) == (200, str(len(ALL)))
        assert "Upload-Expires" not in head.headers, "what is whole does not expire"
        assert (await tus.patch(path, len(ALL))).status == 204
        assert (await tus.patch(path, len(FIRST), REST)).status == 409
        early = await ingest.get(path.replace("files", "uploads"))
        assert (early.status, early.json["code"], early.headers["Retry-After"]) == (409, "incomplete", "1")
        replica.blobs.gate.set()
        await until(lambda: is_an_upload(ingest, path))
        assert "Millrace-Job-Id" in (await tus.head(path)).headers
        assert (replica.blobs.joins, replica.blobs.hashed) == (1, 0), "nobody begins it again"
        assert await ingest.count("ingest.outbox") == 1
        upload = (await ingest.get(path.replace("files", "uploads"))).json
        assert upload["sha256"] == hashlib.sha256(ALL).hexdigest()


async def test_another_replica_waits_as_long_as_the_first_is_at_it(replica: Replica, other: Replica) -> None:
    async with replica.open() as ingest, other.open() as beside:
        path = await whole(Tus(ingest))
        first_lease = await lease(ingest)
        await until(lambda: _was_renewed(ingest, first_lease))
        head = await Tus(beside).head(path)
        assert (head.status, head.headers["Upload-Offset"]) == (200, str(len(ALL)))
        assert (await Tus(beside).patch(path, len(ALL))).status == 204
        assert other.blobs.joins == 0
        replica.blobs.gate.set()
        await until(lambda: is_an_upload(beside, path))
        assert (replica.blobs.joins, other.blobs.joins) == (1, 0)


async def test_many_files_that_are_whole_at_once_take_turns(replica: Replica) -> None:
    """Each was begun at once: six large ones took all the threads that write bodies, and stopped every upload."""
    async with replica.open() as ingest:
        paths = [await whole(Tus(ingest)) for _ in range(6)]
        await until(lambda: replica.blobs.joins == 4)
        replica.blobs.gate.set()
        for path in paths:
            await until(partial(is_an_upload, ingest, path))
        assert replica.blobs.joins == 6


async def test_who_completes_a_file_too_late_leaves_nothing(replica: Replica, other: Replica) -> None:
    """He was stopped in the middle of it. Another did it meanwhile, and the upload has been deleted since: its blob
    came back, and belonged to nobody."""
    async with replica.open() as ingest, other.open() as beside:
        replica.blobs.is_late = True
        path = await whole(Tus(ingest))
        other.blobs.gate.set()
        async with as_owner(ingest.database) as owner:
            await owner.execute("UPDATE ingest.files SET token = token + 1, holder = NULL")
        await until(lambda: is_an_upload(beside, path))
        assert (await beside.ask("DELETE", path.replace("files", "uploads"))).status == 204
        replica.blobs.gate.set()
        await until(lambda: ingest.files() != [])
        await until(lambda: ingest.count("ingest.loose_blobs"))


async def lease(ingest: RunningIngest) -> float:
    until_ = await fetchval(ingest.database, "SELECT extract(epoch FROM lease_until) FROM ingest.files")
    return float(until_)


async def _was_renewed(ingest: RunningIngest, first: float) -> bool:
    """Far beyond what it was taken for."""
    return await lease(ingest) > first + LEASE


async def test_another_replica_takes_over_from_one_that_stops(replica: Replica, other: Replica) -> None:
    async with other.open() as beside:
        other.blobs.gate.set()
        async with replica.open() as ingest:
            path = await whole(Tus(ingest))
        await until(lambda: is_an_upload(beside, path))
        assert other.blobs.hashed == 1, "it has not seen the bytes come"
        assert await beside.count("ingest.outbox") == 1


async def test_what_was_read_to_be_hashed_is_not_read_again_when_the_database_fails_behind_it(
    replica: Replica, other: Replica
) -> None:
    async with other.open() as before:
        path = await Tus(before).created(len(ALL))
        await Tus(before).patch(path, 0, FIRST)
    async with replica.open() as ingest, as_owner(ingest.database) as owner:
        tus = Tus(ingest)
        await owner.execute(_FAILING)
        replica.blobs.gate.set()
        assert (await tus.patch(path, len(FIRST), REST)).status == 503
        await until(lambda: replica.blobs.joins > 2)
        await owner.execute("DROP TRIGGER fails ON ingest.uploads")
        await until(lambda: is_an_upload(ingest, path))
        assert replica.blobs.hashed == 1


async def test_who_deletes_a_file_that_is_completed_meanwhile_may_try_again(replica: Replica) -> None:
    """The file was marked as deleted before its upload was: when that failed, the second try heard that all is gone,
    and the upload stayed."""
    async with replica.open() as ingest, as_owner(ingest.database) as owner:
        tus = Tus(ingest)
        path = await whole(tus)
        deleting = asyncio.create_task(tus.ask("DELETE", path))
        await until(lambda: ingest.count("ingest.files WHERE wanted"))
        await owner.execute(_FAILING.replace("INSERT", "UPDATE"))
        replica.blobs.gate.set()
        assert (await deleting).status == 503
        await owner.execute("DROP TRIGGER fails ON ingest.uploads")
        assert (await tus.ask("DELETE", path)).status == 204
        assert (await ingest.get(path.replace("files", "uploads"))).status == 410
        assert ingest.files() == []


async def test_a_file_that_was_whole_becomes_an_upload_though_its_time_is_over(replica: Replica) -> None:
    """It was left alone for a day, since the store was away: it neither expired nor was it completed, ever."""
    async with replica.open() as ingest:
        path = await whole(Tus(ingest))
        async with as_owner(ingest.database) as owner:
            await owner.execute("UPDATE ingest.files SET expires_at = now() - interval '1 day'")
    async with replica.open() as ingest:
        replica.blobs.gate.set()
        await until(lambda: is_an_upload(ingest, path))


async def test_an_upload_that_has_not_all_come_yet_is_not_unknown(replica: Replica) -> None:
    """Its client has its id from the start on."""
    async with replica.open() as ingest:
        tus = Tus(ingest)
        path = await tus.created(len(ALL))
        await tus.patch(path, 0, FIRST)
        for method, rest in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
            answer = await ingest.ask(method, path.replace("files", "uploads") + rest)
            assert (answer.status, answer.json["code"]) == (409, "incomplete")
        await tus.ask("DELETE", path)
        assert (await ingest.get(path.replace("files", "uploads"))).status == 410
