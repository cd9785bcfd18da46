"""The relay to `millrace.events` publishes a page of the log at once. Whatever is lost in the middle of one, somebody
else's queue has every event of every stream in order, and the checkpoint never passes what RabbitMQ has confirmed."""

import asyncio
import contextlib
import itertools
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aio_pika
import asyncpg
import pytest
import pytest_asyncio
from aio_pika.abc import AbstractIncomingMessage, AbstractQueue

from deploy.process import ChildProcess, Command
from deploy.provision import Database
from events.broker.broker import Exchange
from events.broker.by_url import open_broker
from events.delivery.relay import Relay, to_events
from events.envelope import decode_recorded
from events.errors import PartlyConfirmed
from events.lifecycle import Loops, loops
from events.telemetry import Telemetry
from fixtures import processes
from fixtures.log import OpenLog, note, open_log, request
from fixtures.way import HEALTHY, Fate, Way

EVENTS, STREAMS = 1_300, 7  # three pages
RELAY = Path(processes.__file__).with_name("relay.py")
_PATIENCE = 60.0  # seconds until a test gives up; nothing takes as long


@dataclass
class Subscriber:
    """A queue of its own, as docs/events.md says: of each stream it takes the next version, and nothing else."""

    queue: AbstractQueue
    arrived: list[int] = field(default_factory=list)  # positions, with those that came again
    taken: dict[str, int] = field(default_factory=dict)  # by stream, the newest version
    _more: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def hear(self, message: AbstractIncomingMessage) -> None:
        event = decode_recorded(message.body)
        async with self._more:
            self.arrived.append(event.position)
            if event.version == self.taken.get(event.subject, 0) + 1:
                self.taken[event.subject] = event.version
            self._more.notify_all()
        await message.ack()

    async def until(self, count: int) -> None:
        """It has taken so many."""
        async with asyncio.timeout(_PATIENCE), self._more:
            await self._more.wait_for(lambda: sum(self.taken.values()) >= count)


@pytest_asyncio.fixture
async def subscriber(broker_url: str) -> AsyncIterator[Subscriber]:
    async with subscribing(broker_url, {}) as subscriber:
        yield subscriber


@asynccontextmanager
async def subscribing(broker_url: str, arguments: dict[str, object]) -> AsyncIterator[Subscriber]:
    async with open_broker(broker_url, name="test") as broker:
        await broker.ping()  # it declares what is ours
    connection = await aio_pika.connect(broker_url)
    async with connection, connection.channel() as channel:
        queue = await channel.declare_queue("theirs", durable=True, arguments=arguments)  # type: ignore[arg-type]
        await queue.bind(Exchange.EVENTS, "acme.#")
        subscriber = Subscriber(queue)
        yield subscriber


@pytest_asyncio.fixture
async def opened(database: Database) -> AsyncIterator[OpenLog]:
    """A log of so many events, whose streams take turns."""
    async with open_log(database) as opened:
        events = [note(f"note:{number % STREAMS}") for number in range(EVENTS)]
        for begin in range(0, EVENTS, 100):
            await opened.appender.append_all([request(event) for event in events[begin : begin + 100]])
        yield opened


@asynccontextmanager
async def relaying(opened: OpenLog, broker_url: str) -> AsyncIterator[Loops]:
    """As the processor has it: what fails for a while is begun again."""
    telemetry = Telemetry("test")
    async with open_broker(broker_url, name="relay") as broker, loops(telemetry) as running:
        relay = Relay("events", opened.pool, opened.doorbell, to_events(broker, telemetry), telemetry)
        running.start("relay.events", relay.run)
        yield running
    assert not running.halted


async def checkpoint(database: Database) -> int:
    saved = "SELECT position FROM events.checkpoints WHERE name = 'relay.events'"
    connection = await asyncpg.connect(database.url("processor"))
    try:
        return int(await connection.fetchval(saved) or 0)
    finally:
        await connection.close()


async def checkpoint_is_at_the_end(database: Database) -> None:
    async with asyncio.timeout(_PATIENCE):
        while await checkpoint(database) < EVENTS:
            await asyncio.sleep(0.02)


async def test_pages_come_in_the_logs_order_each_event_once(
    opened: OpenLog, database: Database, subscriber: Subscriber, broker_url: str
) -> None:
    await subscriber.queue.consume(subscriber.hear)
    async with relaying(opened, broker_url):
        await subscriber.until(EVENTS)
        await checkpoint_is_at_the_end(database)
    assert subscriber.arrived == list(range(1, EVENTS + 1))


# Before the first page some 2 kB go to RabbitMQ: a handshake, and the declaring of what is ours. A page has 200.
@pytest.mark.parametrize(
    "fate",
    [Fate(sent=3_500), Fate(sent=100_000, unnoticed=True), Fate(sent=400_000)],
    ids=["in its first messages", "in its middle, unnoticed by RabbitMQ", "in the middle of the second page"],
)
async def test_a_connection_cut_in_the_middle_of_a_page_loses_nothing(
    opened: OpenLog, database: Database, subscriber: Subscriber, broker_url: str, fate: Fate
) -> None:
    await subscriber.queue.consume(subscriber.hear)
    async with Way.to(broker_url) as way:
        way.fates = itertools.chain([fate], itertools.repeat(HEALTHY))
        through = broker_url.replace(f":{way.server_port}/", f":{way.port}/")
        async with relaying(opened, through):
            await subscriber.until(EVENTS)
            await checkpoint_is_at_the_end(database)
        assert way.cuts == 1


async def test_a_relay_killed_in_the_middle_loses_nothing(
    opened: OpenLog, database: Database, subscriber: Subscriber, broker_url: str, tmp_path: Path
) -> None:
    process = ChildProcess(
        Command(
            argv=[sys.executable, str(RELAY)],
            log=tmp_path / "relay.log",
            environment={
                "PATH": os.environ.get("PATH", os.defpath),
                "MILLRACE_DATABASE_URL": database.url("processor"),
                "MILLRACE_BROKER_URL": broker_url,
            },
        )
    )
    await process.start()
    try:
        await subscriber.queue.consume(subscriber.hear)
        await subscriber.until(1)
    finally:
        await process.kill()
    assert await checkpoint(database) < EVENTS, "it was to be killed before it is done"
    async with relaying(opened, broker_url):
        await subscriber.until(EVENTS)
        await checkpoint_is_at_the_end(database)


async def test_a_database_lost_in_the_middle_loses_nothing(
    opened: OpenLog, database: Database, subscriber: Subscriber, broker_url: str
) -> None:
    """Between a page's confirm and its saved checkpoint: the page comes again."""
    owner = await asyncpg.connect(database.admin_url)
    await subscriber.queue.consume(subscriber.hear)
    async with relaying(opened, broker_url):
        await subscriber.until(1)
        await owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await subscriber.until(EVENTS)
        await checkpoint_is_at_the_end(database)
    await owner.close()


async def test_a_queue_that_refuses_what_it_has_no_room_for_gets_all_in_order_as_it_gets_room(
    opened: OpenLog, database: Database, broker_url: str
) -> None:
    """Repeated from its first event, a page that is larger than the queue would never be confirmed: the queue would be
    filled with the same few events for ever."""
    limited = {"x-max-length": 150, "x-overflow": "reject-publish"}
    telemetry = Telemetry("test")
    async with subscribing(broker_url, dict(limited)) as subscriber, open_broker(broker_url, name="relay") as broker:
        relay = Relay("events", opened.pool, opened.doorbell, to_events(broker, telemetry), telemetry)
        with pytest.raises(PartlyConfirmed):
            await relay.run()
        confirmed = await checkpoint(database)
        assert 150 <= confirmed < 500, "what was confirmed of the first page, and nothing beyond"

        async def insist() -> None:
            while True:
                with contextlib.suppress(PartlyConfirmed):
                    await relay.run()

        insisting = asyncio.create_task(insist())
        try:
            await subscriber.queue.consume(subscriber.hear)
            await subscriber.until(EVENTS)
            await checkpoint_is_at_the_end(database)
        finally:
            insisting.cancel()
            await asyncio.gather(insisting, return_exceptions=True)
    assert subscriber.arrived[:150] == list(range(1, 151))
