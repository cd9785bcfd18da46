"""Reading the log, and what the database itself refuses."""

import asyncio
from datetime import UTC, datetime

import asyncpg
import pytest

from deploy.provision import Database
from events.database import open_pool
from events.envelope import encode_event, new_event
from events.errors import InvalidInput
from events.ids import new_id
from events.log.append import Appended, Expected
from events.log.log import EventLog
from fixtures.log import TENANT, as_owner, note, open_log, request


async def test_positions_are_dense_over_the_log_and_versions_over_each_stream(database: Database) -> None:
    async with open_log(database) as opened:
        for stream in ("note:a", "note:b", "note:a"):
            await opened.appender.append(request(note(stream), note(stream)))
        events = await opened.log.read(0, 100)
        head = await opened.log.head()
    assert [(event.position, event.subject, event.version) for event in events] == [
        (1, "note:a", 1),
        (2, "note:a", 2),
        (3, "note:b", 1),
        (4, "note:b", 2),
        (5, "note:a", 3),
        (6, "note:a", 4),
    ]
    assert head.position == 6


async def test_an_event_reads_back_as_it_was_written(database: Database) -> None:
    written = new_event(
        type="note.written",
        stream="note:a",
        tenant=TENANT,
        source="/test",
        data='{ "odd spacing":1.50, "text":"\\u0000 é 🦀 \\"", "a":1,"a":2 }'.encode(),
        time=datetime(2026, 3, 1, 12, 30, 15, 123457, tzinfo=UTC),
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )
    async with open_log(database) as opened:
        await opened.appender.append(request(written))
        [read] = await opened.log.read_stream(TENANT, "note:a", 0, 10)
    assert bytes(read.data) == bytes(written.data)
    for attribute in ("id", "source", "type", "subject", "time", "tenant", "traceparent"):
        assert getattr(read, attribute) == getattr(written, attribute)
    assert encode_event(read).startswith(encode_event(written)[:-1])


async def test_a_tenant_reads_its_own_events_only(database: Database) -> None:
    async with open_log(database) as opened:
        for tenant in ("acme", "other", "acme"):
            await opened.appender.append(request(note("note:same-name", tenant=tenant)))
        acme = await opened.log.read(0, 10, "acme")
        other = await opened.log.read_stream("other", "note:same-name", 0, 10)
    assert [(event.position, event.version) for event in acme] == [(1, 1), (3, 2)]
    assert [(event.position, event.version) for event in other] == [(2, 1)]


async def test_reads_begin_after_the_cursor_and_stop_at_the_limit(database: Database) -> None:
    async with open_log(database) as opened:
        await opened.appender.append(request(*(note("note:a") for _ in range(5))))
        assert [event.position for event in await opened.log.read(1, 3)] == [2, 3, 4]
        assert [event.version for event in await opened.log.read_stream(TENANT, "note:a", 3, 10)] == [4, 5]
        assert await opened.log.read(5, 10) == []


async def test_a_reserved_stream_is_at_version_0_and_still_takes_its_first_event(database: Database) -> None:
    async with open_log(database) as opened:
        assert await opened.log.stream_version(TENANT, "note:a") is None
        async with opened.pool.acquire() as connection:
            await opened.log.reserve(connection, TENANT, "note:a")
            await opened.log.reserve(connection, TENANT, "note:a")
        assert await opened.log.stream_version(TENANT, "note:a") == 0
        outcome = await opened.appender.append(request(note("note:a"), expected=Expected.NONE))
        assert isinstance(outcome, Appended)
        assert await opened.log.stream_version(TENANT, "note:a") == 1


async def test_a_reservation_lives_and_dies_with_its_transaction(database: Database) -> None:
    async with open_log(database) as opened, opened.pool.acquire() as connection:
        reserving = connection.transaction()
        await reserving.start()
        await opened.log.reserve(connection, TENANT, "note:a")
        await reserving.rollback()
        assert await opened.log.stream_version(TENANT, "note:a") is None


async def test_an_append_finds_a_reservation_that_was_open_when_it_began(database: Database) -> None:
    """The append waits for the reserving transaction, and then continues the stream that it made."""
    async with open_log(database) as opened, opened.pool.acquire() as connection:
        async with connection.transaction():
            await opened.log.reserve(connection, TENANT, "note:a")
            appending = asyncio.create_task(opened.appender.append(request(note("note:a"), expected=Expected.NONE)))
            while not await connection.fetchval(
                "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND locktype = 'transactionid')"
            ):
                await asyncio.sleep(0)
        assert isinstance(await appending, Appended)
        assert [event.version for event in await opened.log.read_stream(TENANT, "note:a", 0, 9)] == [1]


async def test_a_malformed_stream_cannot_be_reserved(database: Database) -> None:
    async with open_log(database) as opened, opened.pool.acquire() as connection:
        with pytest.raises(InvalidInput):
            await opened.log.reserve(connection, TENANT, "no colon")


async def test_the_log_says_which_events_it_holds(database: Database) -> None:
    held, unknown = note("note:a"), new_id()
    async with open_log(database) as opened:
        await opened.appender.append(request(held))
        asked = [(TENANT, unknown), (TENANT, held.id), ("other", held.id)]
        assert await opened.log.known(asked) == {(TENANT, held.id)}
        assert await opened.log.known([]) == set()


@pytest.mark.parametrize("role", ["ingest", "processor", "notifier", "gateway"])
@pytest.mark.parametrize("table", ["head", "events", "event_ids", "streams", "checkpoints"])
async def test_no_service_can_write_to_the_logs_tables(database: Database, role: str, table: str) -> None:
    connection = await asyncpg.connect(database.url(role))
    for statement in (f"INSERT INTO events.{table} DEFAULT VALUES", f"DELETE FROM events.{table}"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    await connection.close()


async def test_only_the_processor_appends_and_only_readers_read(database: Database) -> None:
    ingest = await asyncpg.connect(database.url("ingest"))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await ingest.fetch("SELECT * FROM events.events")
    for role in ("ingest", "gateway", "notifier"):
        connection = await asyncpg.connect(database.url(role))
        may = await connection.fetchval(
            "SELECT bool_or(has_function_privilege(oid, 'EXECUTE')) FROM pg_proc"
            " WHERE pronamespace = 'events'::regnamespace"
            " AND proname IN ('append', 'record', 'append_judged', 'cover', 'save_checkpoint')"
        )
        assert may is False
        await connection.close()
    await ingest.close()


async def test_the_edge_can_reserve_and_ask_for_ids(database: Database) -> None:
    for role in ("ingest", "gateway"):
        async with open_pool(database.url(role), name="test", size=2) as pool, pool.acquire() as connection:
            log = EventLog(pool)
            await log.reserve(connection, TENANT, f"note:{role}")
            assert await log.known([(TENANT, new_id())]) == set()


async def test_the_log_makes_its_own_partitions_and_reads_across_them(database: Database) -> None:
    async with as_owner(database) as owner, open_log(database) as opened:
        await opened.appender.append(request(note("note:a")))
        await owner.execute("UPDATE events.head SET covered = 10, partition_size = 4")
        await owner.execute("DROP TABLE events.events_from_1; SELECT events.cover(11)")
        await owner.execute("UPDATE events.head SET position = 10")
        for _ in range(3):
            outcome = await opened.appender.append(request(*(note("note:b") for _ in range(7))))
            assert isinstance(outcome, Appended)
        assert [event.position for event in await opened.log.read(10, 100)] == list(range(11, 32))
        partitions = await owner.fetchval(
            "SELECT count(*) FROM pg_inherits WHERE inhparent = 'events.events'::regclass"
        )
        assert partitions == 6
        assert await owner.fetchval("SELECT covered FROM events.head") == 34
