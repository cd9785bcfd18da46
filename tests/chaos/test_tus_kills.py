"""SIGKILL and SIGSTOP of ingest in the middle of a file. Its client goes on at another replica, from the last offset
that was recorded: every byte is there, none is sent again that was told to be stored, and one upload comes of it."""

import asyncio
import os
from pathlib import Path

import pytest

from fixtures.ingest import until
from fixtures.ingest_processes import Replicas, ResumingClient, all_came_once
from fixtures.passages import sampled

KILLPOINT = Path(__file__).parent / "killpoint"
MEGABYTE = 1 << 20

# Creating, taking the lock, noting a segment, two offsets, and completing are about as many commits.
SKIPS = {"KILL_SKIPS": "outbox.sweep,blobs.sweep,files.sweep,files.renew,uploads.retention"}
COMMITS = [(when, nth) for nth in range(1, 11) for when in ("before", "after")]


async def nothing_else_is_left(replicas: Replicas) -> bool:
    return await replicas.count("ingest.segments") == 0 and len(replicas.files()) == 1


async def stored(replicas: Replicas, least: int) -> int:
    """How much there is, once it is so much."""
    async with asyncio.timeout(30):
        while (found := await replicas.stored()) < least:
            await asyncio.sleep(0.01)
    return found


async def test_a_file_goes_on_at_another_replica_when_its_own_is_killed(replicas: Replicas) -> None:
    first, _ = await replicas.start(), await replicas.start()
    client = ResumingClient(replicas, os.urandom(40 * MEGABYTE), pause=lambda: 0.005)
    sending = asyncio.create_task(client.send())
    recorded = await stored(replicas, 8 * MEGABYTE)
    await first.kill()

    upload_id = await sending

    assert client.offsets[0] == 0
    assert client.offsets[1] >= recorded, "nothing below it is sent again"
    await all_came_once(client, upload_id)
    await until(lambda: nothing_else_is_left(replicas))


async def test_a_replica_that_was_stopped_spoils_nothing_when_it_goes_on(replicas: Replicas) -> None:
    zombie, _ = await replicas.start(), await replicas.start()
    client = ResumingClient(replicas, os.urandom(24 * MEGABYTE), pause=lambda: 0.005)
    sending = asyncio.create_task(client.send())
    recorded = await stored(replicas, 8 * MEGABYTE)
    zombie.suspend()
    sending.cancel()
    successor = ResumingClient(Replicas(replicas.database, replicas.data_dir, replicas.session), client.content)
    successor.replicas.started, successor.path = replicas.started[1:], client.path

    upload_id = await successor.send()
    zombie.go_on()
    successor.replicas.started = [zombie]
    assert await successor.send() == upload_id

    assert successor.offsets[0] >= recorded
    await until(lambda: nothing_else_is_left(replicas))
    await all_came_once(successor, upload_id)


@pytest.mark.parametrize(("when", "nth"), sampled(COMMITS), ids=[f"{when}-{nth}" for when, nth in COMMITS])
async def test_a_replica_killed_at_any_commit_loses_nothing_and_completes_nothing_twice(
    replicas: Replicas, tmp_path: Path, when: str, nth: int
) -> None:
    armed = tmp_path / "armed"
    dying = await replicas.start(
        SKIPS | {"KILL_AT": f"commit:{when}:{nth}", "KILL_ARMED": str(armed), "PYTHONPATH": str(KILLPOINT)}
    )
    await replicas.start()
    armed.touch()
    client = ResumingClient(replicas, os.urandom(9 * MEGABYTE))
    upload_id = await client.send()
    async with asyncio.timeout(30):
        assert await dying.process.wait() == -9
    await all_came_once(client, upload_id)
    await until(lambda: nothing_else_is_left(replicas))
