"""The seam itself, with the hub in the test's hands: what is told while the log is being read, and in which order."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from deploy.provision import Database
from events.envelope import RecordedEvent, stream_name
from events.log import EventLog
from events.telemetry import Telemetry
from fixtures.notifier import PATIENCE, READER, Writer, open_writer
from fixtures.parts import OpenParts
from notifier.dialects.progress import PROGRESS
from notifier.history import History
from notifier.hub import Channel, Hub
from notifier.session import Following, Session


class SlowHistory(History):
    """Holds each page back, once the database has answered, until the test lets it go."""

    def __init__(self, log: EventLog) -> None:
        super().__init__(log, reads=1)
        self.has_read = asyncio.Event()
        self.let_go = asyncio.Event()

    async def page(self, channel: Channel, after: int) -> list[RecordedEvent]:
        page = await super().page(channel, after)
        self.has_read.set()
        await self.let_go.wait()
        return page


def texts(frames: bytes) -> list[dict[str, Any]]:
    """What is in our frames, one after the other."""
    told = []
    while frames:
        begin = 4 if frames[1] == 126 else 2
        end = begin + (int.from_bytes(frames[2:4], "big") if begin == 4 else frames[1])
        told.append(json.loads(frames[begin:end]))
        frames = frames[end:]
    return told


class Client:
    """The other end of a session, which may stop reading."""

    def __init__(self) -> None:
        self.versions: list[int] = []
        self.writable = True

    def write(self, frame: bytes) -> bool:
        if self.writable:
            self.send(frame)
        return self.writable

    def send(self, frame: bytes) -> None:
        self.versions += [told["version"] for told in texts(frame)]

    def fail(self, error: Exception) -> None:
        raise error

    async def has(self, count: int) -> list[int]:
        async with asyncio.timeout(PATIENCE):
            while len(self.versions) < count:
                await asyncio.sleep(0)
        return self.versions


class Seam:
    """A writer, a hub that tells what was written when the test says so, and a session."""

    def __init__(self, writer: Writer, hub: Hub, history: History, telemetry: Telemetry) -> None:
        self.writer = writer
        self.client = Client()
        self.hub = hub
        self.session = Session(Following(hub, history, telemetry), self.client)

    async def tell(self) -> None:
        """What the log holds and the hub has not told yet."""
        await self.hub.broadcast(await self.writer.log.read(self.hub.position, 1000))


async def seam(writer: Writer, history: History) -> Seam:
    telemetry = Telemetry("test")
    hub = Hub(telemetry)
    hub.begin(await writer.log.head())
    return Seam(writer, hub, history, telemetry)


@pytest_asyncio.fixture
async def writer(database: Database, open_parts_for: OpenParts) -> AsyncIterator[Writer]:
    async with open_writer(database, open_parts_for) as writer:
        yield writer


async def test_what_is_told_while_the_log_is_being_read_is_not_lost(writer: Writer) -> None:
    """The last event falls between a read and going live: nothing comes behind it that could reveal the gap."""
    job_id = await writer.job(2)
    history = SlowHistory(writer.log)
    joined = await seam(writer, history)
    joined.session.follow((READER.tenant, stream_name("job", job_id)), 0, PROGRESS)
    await history.has_read.wait()
    await writer.append(job_id)
    await joined.tell()
    history.let_go.set()
    assert await joined.client.has(3) == [1, 2, 3]


async def test_what_was_read_before_it_is_told_is_not_told_again(writer: Writer) -> None:
    history = SlowHistory(writer.log)
    history.let_go.set()
    joined = await seam(writer, history)
    job_id = await writer.job(2)
    for stream in (stream_name("job", job_id), None):
        joined.session.follow((READER.tenant, stream), 0, PROGRESS)
    await joined.client.has(4)
    await joined.tell()
    await writer.append(job_id)
    await joined.tell()
    assert sorted(await joined.client.has(6)) == [1, 1, 2, 2, 3, 3]


async def test_a_hole_in_what_the_hub_tells_is_filled_from_the_log(writer: Writer) -> None:
    """The feed's positions have none; but a client's versions do not depend on that."""
    job_id = await writer.job(1)
    history = SlowHistory(writer.log)
    history.let_go.set()
    joined = await seam(writer, history)
    joined.session.follow((READER.tenant, stream_name("job", job_id)), 0, PROGRESS)
    await joined.client.has(1)
    await writer.append(job_id, 3)
    await joined.hub.broadcast((await writer.log.read(0, 1000))[-1:])
    assert await joined.client.has(4) == [1, 2, 3, 4]


async def test_no_order_of_appending_reading_telling_and_stalling_loses_or_repeats_a_version(writer: Writer) -> None:
    dice = random.Random(3)
    for _ in range(60):
        before, events = dice.randrange(3), 12
        job_id = await writer.job(before)
        history = SlowHistory(writer.log)
        joined = await seam(writer, history)
        joined.session.follow((READER.tenant, stream_name("job", job_id)), 0, PROGRESS)
        left = events
        while left:
            match dice.randrange(5):
                case 0:
                    await writer.append(job_id)
                    left -= 1
                case 1:
                    await joined.tell()
                case 2:
                    history.let_go.set()
                    await asyncio.sleep(0)
                    history.let_go.clear()
                case 3:
                    joined.client.writable = not joined.client.writable
                    joined.session.resume()
                case 4:
                    await asyncio.sleep(0)
        history.let_go.set()
        joined.client.writable = True
        joined.session.resume()
        await joined.tell()
        expected = list(range(1, before + events + 1))
        assert await joined.client.has(len(expected)) == expected
        await joined.tell()
        assert joined.client.versions == expected
        joined.session.close()
