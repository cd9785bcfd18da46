"""The feed may repeat itself, leave something out, or be gone: that delays, and nothing else."""

import asyncio
from dataclasses import replace
from uuid import uuid4

import asyncpg
import msgspec
import pytest
from websockets.exceptions import InvalidStatus

from deploy.postgres import PostgresServer
from deploy.provision import Database
from deploy.rabbitmq import RabbitServer
from events.broker.broker import Exchange, Message
from events.broker.by_url import open_broker
from events.broker.memory import MemoryBroker
from events.envelope import RecordedEvent, encode_batch
from fixtures.centrifugo import ENDPOINT
from fixtures.log import as_owner
from fixtures.notifier import RunningNotifier, Writer, open_notifier
from fixtures.parts import OpenParts

NEVER = 3600.0  # no look at the log's head happens in a test


class Feed:
    """A relay that we can tell what to publish."""

    def __init__(self, writer: Writer) -> None:
        self.broker = MemoryBroker()
        self._log = writer.log

    async def message(self, first: int, last: int) -> Message:
        batch = await self._log.read(first - 1, last - first + 1)
        headers = {"epoch": str((await self._log.head()).epoch), "first": str(first), "last": str(last)}
        return Message(f"{first}-{last}", encode_batch(batch), headers=headers)

    async def publish(self, first: int, last: int) -> None:
        await self.broker.publish(Exchange.FEED, await self.message(first, last))


async def test_what_the_feed_repeats_is_told_once(
    database: Database, open_parts_for: OpenParts, writer: Writer
) -> None:
    feed = Feed(writer)
    job_id = await writer.reserve()
    async with (
        open_notifier(database, open_parts_for, feed.broker, feed_poll_seconds=NEVER) as notifier,
        notifier.open(f"/ws/{job_id}") as one,
        notifier.open("/ws") as all_,
    ):
        await writer.append(job_id, 6)
        for first, last in ((1, 2), (1, 2), (1, 4), (2, 3), (4, 5), (1, 6), (5, 6)):
            await feed.publish(first, last)
        for socket in (one, all_):
            assert await socket.versions(6) == [1, 2, 3, 4, 5, 6]
            assert await socket.is_silent()


async def test_what_the_feed_leaves_out_is_read_from_the_log(
    database: Database, open_parts_for: OpenParts, writer: Writer
) -> None:
    feed = Feed(writer)
    job_id = await writer.reserve()
    async with (
        open_notifier(database, open_parts_for, feed.broker, feed_poll_seconds=NEVER) as notifier,
        notifier.open(f"/ws/{job_id}") as one,
        notifier.open("/ws") as all_,
    ):
        await writer.append(job_id, 9)
        for first, last in ((1, 1), (4, 5), (9, 9)):
            await feed.publish(first, last)
        for socket in (one, all_):
            assert await socket.versions(9) == list(range(1, 10))
            assert await socket.is_silent()
        assert (await notifier.metrics())["millrace_notifier_feed_repaired_events_total"] == 5


async def test_a_batch_that_lies_or_cannot_be_read_is_replaced_by_the_log(
    database: Database, open_parts_for: OpenParts, writer: Writer
) -> None:
    feed = Feed(writer)
    job_id = await writer.reserve()
    async with (
        open_notifier(database, open_parts_for, feed.broker, feed_poll_seconds=NEVER) as notifier,
        notifier.open(f"/ws/{job_id}") as socket,
    ):
        expected = 0

        async def told_despite(count: int, lie: Message) -> None:
            nonlocal expected
            await feed.broker.publish(Exchange.FEED, lie)
            assert await socket.versions(count) == list(range(expected + 1, expected + count + 1))
            expected += count

        await writer.append(job_id, 2)
        await told_despite(2, Message("no headers", b"[]"))
        await writer.append(job_id, 2)
        true = await feed.message(3, 4)
        await told_despite(2, replace(true, body=b"not json"))
        await writer.append(job_id, 3)
        true = await feed.message(5, 7)
        await told_despite(3, replace(true, body=(await feed.message(5, 6)).body))
        await writer.append(job_id, 2)
        true = await feed.message(8, 9)
        await told_despite(2, replace(true, body=b'[{"data":' + b"[" * 10_000))
        assert await socket.is_silent()


def replace_type(event: RecordedEvent) -> RecordedEvent:
    return msgspec.structs.replace(event, type="job.of-another-log")


async def test_a_batch_of_another_log_is_not_told(
    database: Database, open_parts_for: OpenParts, writer: Writer
) -> None:
    feed = Feed(writer)
    job_id = await writer.reserve()
    async with (
        open_notifier(database, open_parts_for, feed.broker, feed_poll_seconds=NEVER) as notifier,
        notifier.open("/ws") as socket,
    ):
        await writer.append(job_id, 2)
        true = await feed.message(1, 2)
        foreign = encode_batch([replace_type(event) for event in await writer.log.read(0, 2)])
        stale = replace(true, headers={**true.headers, "epoch": str(uuid4())}, body=foreign)
        await feed.broker.publish(Exchange.FEED, stale)
        assert [frame["type"] for frame in await socket.take(2)] == ["job.progressed"] * 2
        assert await socket.is_silent()


async def test_without_any_feed_everything_is_told_later(
    database: Database, open_parts_for: OpenParts, writer: Writer
) -> None:
    job_id = await writer.reserve()
    async with (
        open_notifier(database, open_parts_for, MemoryBroker(), feed_poll_seconds=0.05) as notifier,
        notifier.open(f"/ws/{job_id}") as one,
        notifier.open("/ws") as all_,
    ):
        for _ in range(3):
            await writer.append(job_id, 2)
        for socket in (one, all_):
            assert await socket.versions(6) == [1, 2, 3, 4, 5, 6]


async def test_clients_hear_everything_once_over_a_rabbitmq_that_stops_and_starts(
    database: Database,
    open_parts_for: OpenParts,
    writer: Writer,
    rabbitmq_server: RabbitServer,
    broker_url: str,
) -> None:
    job_id = await writer.reserve()
    async with (
        open_broker(broker_url, name="relay") as broker,
        writer.relaying(broker),
        open_notifier(database, open_parts_for, broker_url, feed_poll_seconds=0.2) as notifier,
        notifier.open(f"/ws/{job_id}") as socket,
    ):
        await writer.append(job_id, 3)
        assert await socket.versions(3) == [1, 2, 3]
        await rabbitmq_server.stop()
        try:
            await writer.append(job_id, 3)
            assert await socket.versions(3) == [4, 5, 6]
        finally:
            await rabbitmq_server.start()
        await writer.append(job_id, 3)
        assert await socket.versions(3) == [7, 8, 9]
        assert await socket.is_silent()


async def _halts(notifier: RunningNotifier, sql: str, database: Database) -> None:
    async with notifier.open("/ws") as socket:
        connection = await asyncpg.connect(database.url("owner"))
        try:
            await connection.execute(sql)
        finally:
            await connection.close()
        assert await socket.close_code() == 1011
    for path in ("/ws", ENDPOINT):
        with pytest.raises(InvalidStatus) as refused:  # the gateway tries elsewhere
            await notifier.connecting(path)
        assert refused.value.response.status_code == 503, path
    status, found, _ = await notifier.get("/readyz")
    assert (status, found["loop.feed"]) == (503, "down")


async def test_a_log_that_was_replaced_ends_every_socket_loudly_and_is_told_from_then_on(
    database: Database, open_parts_for: OpenParts, writer: Writer
) -> None:
    """It halted until somebody restarted it, after a failover at night."""
    job_id = await writer.job(3)
    former = (await writer.log.head()).epoch
    broker = MemoryBroker()
    async with (
        writer.relaying(broker),
        open_notifier(database, open_parts_for, broker, feed_poll_seconds=0.05) as notifier,
    ):
        async with notifier.open("/ws") as socket, as_owner(database) as owner:
            await owner.execute("SELECT events.renew_epoch('it was replaced')")
            assert await socket.close_code() == 1011
        now = (await writer.log.head()).epoch
        for cursor in (f"{former}.3", f"{now}.99"):
            assert await _refusal(notifier, f"/ws/{job_id}?after={cursor}") == 410
        async with notifier.open(f"/ws/{job_id}?after={now}.3") as socket:
            await writer.append(job_id, 2)
            assert await socket.versions(2) == [4, 5]


async def _refusal(notifier: RunningNotifier, path: str) -> int:
    """The first answer of a notifier that has come to know its log."""
    while True:
        with pytest.raises(InvalidStatus) as refused:
            await notifier.connecting(path)
        if (status := refused.value.response.status_code) != 503:
            return status
        await asyncio.sleep(0.05)


async def test_a_hole_in_the_log_ends_every_socket_loudly(
    database: Database, open_parts_for: OpenParts, writer: Writer
) -> None:
    await writer.job(3)
    async with open_notifier(database, open_parts_for, MemoryBroker(), feed_poll_seconds=0.05) as notifier:
        await _halts(notifier, "UPDATE events.head SET position = position + 1", database)


async def test_whatever_else_ends_the_feed_for_good_ends_every_socket_loudly(
    database: Database, open_parts_for: OpenParts, writer: Writer
) -> None:
    """They were pinged, and told nothing any more."""
    await writer.job(3)
    async with open_notifier(database, open_parts_for, MemoryBroker(), feed_poll_seconds=0.05) as notifier:
        await _halts(notifier, "ALTER TABLE events.head RENAME TO lost", database)


async def test_a_database_that_restarts_only_delays(
    database: Database, open_parts_for: OpenParts, writer: Writer, postgres_server: PostgresServer
) -> None:
    job_id = await writer.reserve()
    async with (
        open_notifier(database, open_parts_for, MemoryBroker(), feed_poll_seconds=0.05) as notifier,
        notifier.open(f"/ws/{job_id}") as socket,
    ):
        await writer.append(job_id, 2)
        assert await socket.versions(2) == [1, 2]
        await postgres_server.restart()
        await writer.append(job_id, 2)
        assert await socket.versions(2) == [3, 4]
