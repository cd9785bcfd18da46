"""A message may hold a thousand commands: they are taken one by one, as if each had come by itself."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest_asyncio

from deploy.provision import Database
from events.broker.memory import MemoryBroker
from events.telemetry import Telemetry
from fixtures.centrifugo import open_client
from fixtures.notifier import PATIENCE, READER, Writer, open_notifier
from fixtures.parts import OpenParts
from notifier.dialects.centrifugo.conversation import Conversation, Shared
from notifier.dialects.centrifugo.reading import Reading
from notifier.history import History
from notifier.hub import Hub
from notifier.presence import Presence
from notifier.session import Following, Session

PING = '{"id":2,"ping":{}}'


@dataclass
class Outlet:
    """Has room for so many bytes of a client that reads nothing."""

    room: int
    answers: list[bytes] = field(default_factory=list)
    kept: int = 0

    @property
    def writable(self) -> bool:
        return self.kept < self.room

    def write(self, frame: bytes) -> bool:
        raise AssertionError("There are no events here.")

    def send(self, frame: bytes) -> None:
        self.answers.append(frame)
        self.kept += len(frame)

    def fail(self, error: Exception) -> None:
        raise error

    def abort(self) -> None:
        raise AssertionError("Nothing should have failed.")

    async def has(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(self.answers) < count:
                await asyncio.sleep(0)


@pytest_asyncio.fixture
async def outlet() -> Outlet:
    return Outlet(room=2**30)


@pytest_asyncio.fixture
async def session(writer: Writer, outlet: Outlet) -> AsyncIterator[Session]:
    """Of a connected client."""
    telemetry = Telemetry("test")
    hub = Hub(telemetry)
    hub.begin(await writer.log.head())
    history = History(writer.log, reads=1)
    session = Session(Following(hub, history, telemetry), outlet)
    shared = Shared(Reading(hub, writer.log, history), Presence(writer.parts.pool), None, 3, 25.0)
    session.obey = Conversation(shared, session, READER, None).obey
    say(session, '{"id":1,"connect":{}}')
    await outlet.has(1)
    yield session
    session.close()


def say(session: Session, *commands: str) -> bool:
    return session.received(session.commands_of("\n".join(commands)))


async def test_others_have_a_turn_between_the_commands_of_a_batch(session: Session, outlet: Outlet) -> None:
    """None of them waits for anything; and 3,449 fit into a message, of which 64 could wait."""
    count = 10_000
    say(session, *[PING] * count)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert 1 < len(outlet.answers) < count
    await outlet.has(1 + count)


async def test_a_batch_waits_for_whoever_does_not_read_its_answers(
    session: Session, outlet: Outlet, writer: Writer
) -> None:
    """One message of 64 KiB made us keep 255 MiB."""
    job_id = await writer.job(20)
    outlet.room = 20_000
    say(session, *[f'{{"id":2,"history":{{"channel":"job:{job_id}","limit":-1}}}}'] * 200)
    async with asyncio.timeout(PATIENCE):
        while outlet.writable:
            await asyncio.sleep(0)
    for _ in range(30):  # it would have been answered meanwhile
        await writer.log.head()
    assert outlet.kept < outlet.room + 20_000
    outlet.room = 2**30
    session.resume()
    await outlet.has(1 + 200)


async def test_of_long_commands_fewer_wait(session: Session, outlet: Outlet) -> None:
    """64 of 64 KiB each were kept for a client that reads nothing."""
    has_room = asyncio.Event()
    session.roomy = has_room.set
    outlet.room = 0
    taken = 1
    while say(session, PING + " " * 9_000):
        taken += 1
    assert taken == 8
    outlet.room = 2**30
    session.resume()
    async with asyncio.timeout(PATIENCE):
        await has_room.wait()
    await outlet.has(1 + taken)


async def test_each_command_of_a_batch_counts_as_if_it_came_by_itself(
    database: Database, open_parts_for: OpenParts
) -> None:
    async with (
        open_notifier(database, open_parts_for, MemoryBroker(), message_burst=100, message_rate=0.01) as notifier,
        open_client(notifier) as (client, _),
    ):
        await client.send(*[{"ping": {}}] * 90)
        for _ in range(90):
            await client.next()
        await client.send(*[{"ping": {}}] * 10)
        assert await client.closed() == (1008, "Too many commands.")
