"""Server-sent events, from the notifier itself: ids, gaps, several channels, slow readers, the end."""

import asyncio
import json
import time
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from deploy.provision import Database
from events.broker.memory import MemoryBroker
from events.envelope import encode_json
from events.identity import PRINCIPAL_HEADER, Principal
from events.ids import new_id
from fixtures.event_streams import EventClient, Refused, Said, following, sse
from fixtures.notifier import PATIENCE, READER, RunningNotifier, Writer, open_notifier
from fixtures.parts import OpenParts

ALL_OF_IT = Principal("acme", "key:1", frozenset({"jobs:read", "events:read", "ops"}))


class World:
    def __init__(self, notifier: RunningNotifier, writer: Writer) -> None:
        self.notifier = notifier
        self.writer = writer

    def follow(
        self,
        *channels: str,
        principal: Principal = READER,
        last_id: str | None = None,
        limit: int = 1 << 20,
        **given: str,
    ) -> AbstractAsyncContextManager[EventClient]:
        address = self.notifier.address
        signed = f"{PRINCIPAL_HEADER}: {self.notifier.parts.signer.sign(principal)}"
        return following(address.host, address.port, sse(*channels, **given), signed, last_id=last_id, limit=limit)

    async def refusal(self, *channels: str, **given: Any) -> tuple[int, str]:
        with pytest.raises(Refused) as refused:
            async with self.follow(*channels, **given):
                pass
        return refused.value.said

    async def epoch(self) -> str:
        return str((await self.writer.log.head()).epoch)


@pytest_asyncio.fixture
async def world(notifier: RunningNotifier, writer: Writer) -> World:
    return World(notifier, writer)


async def test_what_was_comes_first_and_then_what_comes_each_with_the_id_to_go_on_after(world: World) -> None:
    job_id = await world.writer.job(3)
    epoch, stream = await world.epoch(), f"job:{job_id}"
    async with world.follow(stream, after="1") as client:
        assert client.head.get("cache-control") == "no-store"
        assert await client.until_begun() == f"{epoch}.1"
        assert client.retry is not None
        assert 1000 <= client.retry <= 3000
        await world.writer.append(job_id)
        said = await client.take(3)
    assert [(each.event, each.id) for each in said] == [("message", f"{epoch}.{version}") for version in (2, 3, 4)]
    (recorded,) = await world.writer.log.read_stream("acme", stream, 1, 1)
    assert said[0].data == json.loads(encode_json(recorded)), "the same as REST's list of events shows"


async def test_without_a_cursor_it_begins_now_and_says_where_that_is(world: World) -> None:
    """Who lost the connection before the first event came back without an id, and missed what was between."""
    job_id = await world.writer.job(3)
    async with world.follow(f"job:{job_id}") as client:
        begun = await client.until_begun()
        assert begun == f"{await world.epoch()}.3"
    await world.writer.append(job_id, 2)
    async with world.follow(f"job:{job_id}", last_id=begun) as client:
        assert await client.versions(2) == [4, 5]


async def test_the_last_event_id_counts_instead_of_the_cursor_in_the_url(world: World) -> None:
    job_id = await world.writer.job(5)
    async with world.follow(f"job:{job_id}", after="0", last_id=f"{await world.epoch()}.3") as client:
        assert await client.versions(2) == [4, 5]


@pytest.mark.parametrize("channel", ["tenant:acme", "job:*"])
async def test_the_tenants_log_and_a_category_go_by_position(world: World, channel: str) -> None:
    jobs = [await world.writer.job(1) for _ in range(2)]
    await world.writer.job(1, tenant="evil")
    async with world.follow(channel, after="0", principal=ALL_OF_IT) as client:
        said = await client.take(2)
        await world.writer.append(jobs[0])
        said.append(await client.next())
    assert [each.data["subject"] for each in said] == [f"job:{job_id}" for job_id in (*jobs, jobs[0])]
    epoch = await world.epoch()
    assert [each.id for each in said] == [f"{epoch}.{each.data['position']}" for each in said]


async def test_several_channels_are_resumed_by_one_id(world: World) -> None:
    jobs = [await world.writer.job(2) for _ in range(3)]
    channels = [f"job:{job_id}" for job_id in jobs]
    seen = dict[str, list[int]]()

    def note(said: list[Said]) -> str:
        for each in said:
            seen.setdefault(each.data["subject"], []).append(each.data["version"])
        return said[-1].id

    async with world.follow(*channels, after="0") as client:
        last_id = note(await client.take(5))
    for job_id in jobs:
        await world.writer.append(job_id, 2)
    async with world.follow(*channels, last_id=last_id) as client:
        last_id = note(await client.take(3))
    async with world.follow(*channels, last_id=last_id) as client:
        note(await client.take(4))
        await world.writer.append(jobs[1])
        note([await client.next()])
    assert seen == dict(zip(channels, ([1, 2, 3, 4], [1, 2, 3, 4, 5], [1, 2, 3, 4]), strict=True))


GAPS = {
    "another log's": ("{other}.1", "cursor_expired"),
    "beyond the newest event": ("{epoch}.9", "cursor_expired"),
    "no cursor": ("nonsense", "invalid_input"),
    "of other channels": ("{epoch}.0123abcd.1-2", "invalid_input"),
}


@pytest.mark.parametrize(("cursor", "code"), GAPS.values(), ids=GAPS)
async def test_a_last_event_id_that_leads_nowhere_is_a_gap_that_is_told(world: World, cursor: str, code: str) -> None:
    job_id = await world.writer.job(2)
    epoch = await world.epoch()
    async with world.follow(f"job:{job_id}", last_id=cursor.format(epoch=epoch, other=uuid4())) as client:
        gap = await client.next()
        assert (gap.event, gap.id) == ("gap", f"{epoch}.2")
        assert gap.data.pop("detail").endswith(".")
        assert gap.data == {"channel": f"job:{job_id}", "code": code, "epoch": epoch, "offset": 2}
        await world.writer.append(job_id)
        assert await client.versions(1) == [3]


async def test_of_several_channels_the_one_with_a_gap_is_named_and_the_others_go_on(world: World) -> None:
    jobs = [await world.writer.job(2) for _ in range(2)]
    channels = [f"job:{job_id}" for job_id in jobs]
    async with world.follow(*channels) as client:
        epoch, names, _ = (await client.until_begun()).split(".")
    async with world.follow(*channels, last_id=f"{epoch}.{names}.1-7") as client:
        gap = await client.next()
        assert (gap.event, gap.data["channel"], gap.id) == ("gap", channels[1], f"{epoch}.{names}.1-2")
        told = await client.next()
        assert (told.data["subject"], told.data["version"], told.id) == (channels[0], 2, f"{epoch}.{names}.2-2")
    async with world.follow(*reversed(channels), last_id=f"{epoch}.{names}.1-2") as client:
        assert [(each.event, each.data["code"]) for each in await client.take(2)] == [("gap", "invalid_input")] * 2


REFUSED: dict[str, tuple[list[str], dict[str, str], tuple[int, str]]] = {
    "no channel": ([], {}, (422, "invalid_input")),
    "a name that is none": (["jobs"], {}, (422, "invalid_input")),
    "the same twice": ([f"job:{new_id()}"] * 2, {}, (422, "invalid_input")),
    "too many": ([f"job:{new_id()}" for _ in range(101)], {}, (422, "invalid_input")),
    "a cursor that is none": ([f"job:{new_id()}"], {"after": "x"}, (422, "invalid_input")),
    "a parameter that is none": ([f"job:{new_id()}"], {"befor": "1"}, (422, "invalid_input")),
    "a job that nobody has": ([f"job:{new_id()}"], {}, (404, "not_found")),
    "another tenant": (["tenant:evil"], {}, (403, "forbidden")),
    "another user": (["user:somebody"], {}, (403, "forbidden")),
    "a category without its scope": (["meeting:*"], {}, (403, "forbidden")),
}


async def test_what_cannot_be_had_is_refused_before_the_stream_begins(world: World) -> None:
    found = {name: await world.refusal(*channels, **given) for name, (channels, given, _) in REFUSED.items()}
    assert found == {name: refusal for name, (_, _, refusal) in REFUSED.items()}


async def test_who_speaks_an_older_http_is_refused(world: World) -> None:
    """Of an answer without a length, it would not see whether it was cut off."""
    address = world.notifier.address
    reader, writer = await asyncio.open_connection(address.host, address.port)
    signed = world.notifier.headers(READER)[PRINCIPAL_HEADER]
    writer.write(f"GET {sse('job:*')} HTTP/1.0\r\n{PRINCIPAL_HEADER}: {signed}\r\n\r\n".encode())
    assert b" 400 " in await asyncio.wait_for(reader.readline(), PATIENCE)
    writer.transport.abort()


async def test_another_tenants_job_is_no_channel_and_a_ticket_opens_only_its_own(world: World) -> None:
    mine, other = await world.writer.job(1), await world.writer.job(1, tenant="evil")
    assert await world.refusal(f"job:{other}") == (404, "not_found")
    bound = replace(READER, channels=frozenset({f"job:{mine}"}))
    assert await world.refusal("job:*", principal=bound) == (403, "forbidden")
    async with world.follow(f"job:{mine}", principal=bound, after="0") as client:
        assert await client.versions(1) == [1]


async def test_who_reads_slowly_is_told_from_the_log_and_misses_nothing(
    database: Database, open_parts_for: OpenParts, writer: Writer
) -> None:
    broker = MemoryBroker()
    async with (
        writer.relaying(broker),
        open_notifier(database, open_parts_for, broker, queue_bytes=64 * 1024) as notifier,
    ):
        world = World(notifier, writer)
        job_id = await writer.job(1)
        async with world.follow(f"job:{job_id}", limit=4096) as slow, world.follow(f"job:{job_id}") as quick:
            await slow.until_begun()
            await quick.until_begun()
            for _ in range(60):
                await writer.append(job_id, 10, padding=16 * 1024)
                assert len(await quick.versions(10)) == 10
            await notifier.until("millrace_notifier_demotions_total", lambda demoted: demoted >= 1)
            assert await slow.versions(600) == list(range(2, 602))


async def test_of_progress_that_is_due_the_latest_is_enough_for_who_asks_so(world: World) -> None:
    job_id = await world.writer.job(150)
    async with world.follow(f"job:{job_id}", after="0", conflate="true") as client:
        (latest,) = await client.take(1)
        assert (latest.data["version"], latest.id) == (150, f"{await world.epoch()}.150")


async def test_who_reads_nothing_for_too_long_is_let_go(
    database: Database, open_parts_for: OpenParts, writer: Writer
) -> None:
    broker = MemoryBroker()
    async with (
        writer.relaying(broker),
        open_notifier(
            database, open_parts_for, broker, queue_bytes=64 * 1024, ping_seconds=0.1, stall_seconds=0.2
        ) as notifier,
    ):
        world = World(notifier, writer)
        job_id = await writer.job(1)
        async with world.follow(f"job:{job_id}", limit=4096):
            for _ in range(60):
                await writer.append(job_id, 10, padding=16 * 1024)
            ended = 'millrace_notifier_connections_ended_total{why="stalled"}'
            await notifier.until(ended, lambda count: count == 1)


async def test_a_silent_stream_has_heartbeats_and_who_leaves_makes_room(
    database: Database, open_parts_for: OpenParts, writer: Writer
) -> None:
    async with open_notifier(database, open_parts_for, MemoryBroker(), ping_seconds=0.1, max_connections=1) as notifier:
        world = World(notifier, writer)
        job_id = await writer.job(1)
        async with world.follow(f"job:{job_id}") as client:
            assert client.head.get("x-millrace-heartbeat") == "0.1", "so who stands between can tell that it has gone"
            await client.until_commented()
            async with world.follow(f"job:{job_id}") as turned_away:
                (error,) = await turned_away.rest()
                assert (error.event, error.data["code"], error.data["status"]) == ("error", "unavailable", 503)
                assert turned_away.ended
                assert turned_away.retry is not None
                assert turned_away.retry >= 5000, "what passes is told within a stream: an EventSource comes again"
            client.hang_up()
            await notifier.until("millrace_notifier_connections", lambda count: count == 0)
        async with world.follow(f"job:{job_id}") as again:
            await again.until_begun()


async def test_a_stream_ends_with_its_credential_and_says_so(
    database: Database, open_parts_for: OpenParts, writer: Writer
) -> None:
    async with open_notifier(database, open_parts_for, MemoryBroker(), ping_seconds=0.1) as notifier:
        world = World(notifier, writer)
        job_id = await writer.job(1)
        leased = replace(READER, expires_at=int(time.time()) + 2)
        async with world.follow(f"job:{job_id}", principal=leased) as client:
            (error,) = await client.rest()
            assert (error.event, error.data["code"], error.data["detail"]) == (
                "error",
                "unauthenticated",
                "Credential expired.",
            )
            assert client.ended


async def test_a_service_that_stops_says_so_and_when_to_come_again(
    database: Database, open_parts_for: OpenParts, writer: Writer
) -> None:
    async with AsyncExitStack() as stack:
        async with open_notifier(database, open_parts_for, MemoryBroker()) as notifier:
            world = World(notifier, writer)
            job_id = await writer.job(1)
            clients = [await stack.enter_async_context(world.follow(f"job:{job_id}")) for _ in range(2)]
            for client in clients:
                await client.until_begun()
        for client in clients:
            (error,) = await client.rest()
            assert (error.event, error.data["code"]) == ("error", "unavailable")
            assert error.id == f"{await world.epoch()}.1", "from where it goes on"
            assert client.ended
        assert clients[0].retry != clients[1].retry, "they are not to come together"
