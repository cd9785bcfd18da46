"""Whoever follows an upload sees it grow, once a second."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from events.broker.broker import Exchange
from events.envelope import decode_event
from fixtures.ingest import RunningIngest
from fixtures.tus import Tus

LENGTH = 100_000


@dataclass
class Dripping:
    """A body that comes in small pieces until it is told that the rest may come."""

    enough: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self) -> AsyncIterator[bytes]:
        sent = 0
        while not self.enough.is_set() and sent < LENGTH - 10:
            yield b"0123456789"
            sent += 10
            await asyncio.sleep(0.005)
        yield b"x" * (LENGTH - sent)


@asynccontextmanager
async def told(ingest: RunningIngest) -> AsyncIterator[AsyncIterator[tuple[str, Mapping[str, Any]]]]:
    async with ingest.parts.broker.subscribe(Exchange.INTAKE, limit=100) as messages:

        async def events() -> AsyncIterator[tuple[str, Mapping[str, Any]]]:
            async for message in messages:
                event = decode_event(message.body)
                yield event.type, json.loads(bytes(event.data))

        yield events()


async def test_a_file_that_comes_slowly_is_seen_to_grow(ingest: RunningIngest) -> None:
    tus, body = Tus(ingest), Dripping()
    path = await tus.created(LENGTH)
    id_ = path.rpartition("/")[2]
    assert await ingest.count(f"events.streams WHERE stream = 'upload:{id_}'") == 1, "it may be followed at once"
    async with told(ingest) as events:
        sending = asyncio.create_task(tus.patch(path, 0, body()))
        kind, said = await anext(events)
        assert (kind, said["upload_id"], said["length"]) == ("upload.progressed", id_, LENGTH)
        assert 0 < said["bytes"] < LENGTH
        assert said["percent"] == 100 * said["bytes"] // LENGTH
        body.enough.set()
        assert (await sending).status == 204
        assert (await anext(events))[0] == "upload.completed", "the rest came within a second"


async def test_an_upload_in_one_request_is_seen_to_grow(ingest: RunningIngest) -> None:
    body = Dripping()
    async with told(ingest) as events:
        sending = asyncio.create_task(ingest.post(body()))
        kind, said = await anext(events)
        assert (kind, said["length"], said["percent"]) == ("upload.progressed", None, None), "it did not say its length"
        body.enough.set()
        status, accepted = await sending
        assert (status, said["upload_id"]) == (202, accepted["upload_id"])


async def test_a_file_that_comes_in_many_short_requests_is_seen_to_grow(ingest: RunningIngest) -> None:
    """Clients send chunks of a few megabytes, each in much less than a second: nothing was told of any."""
    tus, sent = Tus(ingest), 0
    path = await tus.created(LENGTH)
    async with told(ingest) as events:
        growing = asyncio.ensure_future(anext(events))
        while not growing.done():
            await tus.patch(path, sent, b"0123456789")
            sent += 10
        kind, said = await growing
    assert (kind, said["upload_id"]) == ("upload.progressed", path.rpartition("/")[2])
    assert 0 < said["bytes"] <= sent


async def test_a_part_tells_of_itself_to_its_end_and_the_file_of_parts_of_its_completion(ingest: RunningIngest) -> None:
    tus, concat = Tus(ingest), {"Upload-Concat": "partial"}
    async with told(ingest) as events:
        paths = [await tus.created(5, concat), await tus.created(5, concat)]
        for path in paths:
            id_ = path.rpartition("/")[2]
            assert await ingest.count(f"events.streams WHERE stream = 'upload:{id_}'") == 1, (
                "it may be followed at once"
            )
            await tus.patch(path, 0, b"12345")
            kind, said = await anext(events)
            assert (kind, said["upload_id"], said["percent"]) == ("upload.progressed", id_, 100)
        final = await tus.ask("POST", "/api/v1/files", {"Upload-Concat": f"final;{paths[0]} {paths[1]}"})
        kind, said = await anext(events)
        assert (kind, said["upload_id"]) == ("upload.completed", final.headers["Location"].rpartition("/")[2])
