"""The seam itself, with the hub in the test's hands: what is told while the log is being read, and in which order."""

import asyncio
import json
import random
from typing import Any

from events.envelope import RecordedEvent, stream_name
from events.log.log import EventLog
from events.telemetry import Telemetry
from fixtures.notifier import PATIENCE, READER, Writer
from notifier.dialects.progress import PROGRESS
from notifier.form import Channel
from notifier.history import PAGE, History
from notifier.hub import Hub
from notifier.pages import Pages
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

    def abort(self) -> None:
        raise AssertionError("Nothing should have failed.")

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


class CountingHistory(History):
    def __init__(self, log: EventLog) -> None:
        super().__init__(log, reads=4)
        self.reads = 0

    async def page(self, channel: Channel, after: int) -> list[RecordedEvent]:
        self.reads += 1
        return await super().page(channel, after)


async def test_who_comes_back_together_reads_each_page_once_for_all(writer: Writer) -> None:
    count = 2 * PAGE + 7
    job_id = await writer.job(count)
    history = CountingHistory(writer.log)
    joined = await seam(writer, history)
    following = Following(joined.hub, history, Telemetry("test"))
    clients = [Client() for _ in range(50)]
    sessions = [Session(following, client) for client in clients]
    for session in sessions:
        session.follow((READER.tenant, stream_name("job", job_id)), 0, PROGRESS)
    for client in clients:
        assert await client.has(count) == list(range(1, count + 1))
    assert history.reads <= 4  # the last page is read again: it may have grown since the first one asked


async def test_a_page_that_was_being_read_when_a_client_came_is_not_its_last_word(writer: Writer) -> None:
    """What was appended between that read and the client's coming may never be told live."""
    job_id = await writer.job(1)
    history = SlowHistory(writer.log)
    first = await seam(writer, history)
    following = Following(first.hub, history, Telemetry("test"))
    early, late = Client(), Client()
    stream = READER.tenant, stream_name("job", job_id)
    session = Session(following, early)
    session.follow(stream, 0, PROGRESS)
    await history.has_read.wait()
    session.close()
    await writer.append(job_id)
    await first.tell()
    Session(following, late).follow(stream, 0, PROGRESS)
    history.let_go.set()
    assert await late.has(2) == [1, 2]


async def test_who_comes_when_a_page_has_just_been_read_does_not_wait_for_ever(writer: Writer) -> None:
    """It asked again and again for a reading that was over, and nobody else had a turn to take it away."""
    joined = await seam(writer, History(writer.log, reads=1))
    room = joined.hub.enter((READER.tenant, stream_name("job", await writer.job(1))))
    pages = Pages(History(writer.log, reads=1))

    async def come() -> int:
        """Whoever finds a page that is not enough asks again."""
        for _ in range(50):
            page = await pages.page(room, PROGRESS, 0, conflate=False)
        return page.events

    comers = [asyncio.ensure_future(come())]
    while not comers[0].done() and len(comers) < 50:
        comers.append(asyncio.ensure_future(come()))
        await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE):
        assert set(await asyncio.gather(*comers)) == {1}
