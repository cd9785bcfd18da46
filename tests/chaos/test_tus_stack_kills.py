"""SIGKILL of ingest, of PostgreSQL and of RabbitMQ while a file arrives by the tus protocol, in the whole stack.

The client goes through the gateway, and knows nothing but the protocol. What was killed is started again, as
supervisors do. Then the client is done without help, every byte is there, one `upload.completed` and one job came of
it, and nothing is left over.
"""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from itertools import product

import asyncpg
import pytest
import pytest_asyncio

from chaos.history import everything_happened_once
from deploy.stack import Stack
from fixtures.client import Client
from fixtures.tus_client import SentFile, TusClient

INGEST = {"MILLRACE_FILE_SWEEP_SECONDS": "0.2", "MILLRACE_OUTBOX_RETRY_SECONDS": "1"}
ROW = b"%07d,somebody whose name is long enough to make a line of some length,%d\n"
# RabbitMQ 3.10 never elects a leader for a queue that was younger than this when the server was killed.
GROWN_UP_SECONDS = 2.5

KINDS: dict[str, Callable[[TusClient, bytes], Awaitable[SentFile]]] = {
    "plain": TusClient.send,
    "deferred": TusClient.send_of_unknown_length,
    "concatenated": TusClient.send_in_parts,
}
MOMENTS = ("creation", "middle", "last byte", "completion", "after")
VICTIMS = ("ingest", "postgres", "rabbitmq")
MATRIX = list(product(KINDS, MOMENTS, VICTIMS))
# One of each in `make test`: RabbitMQ takes ten seconds to come back.
SAMPLE = [
    ("plain", "last byte", "postgres"),
    ("deferred", "middle", "ingest"),
    ("concatenated", "completion", "rabbitmq"),
]


CASES = [case if case in SAMPLE else pytest.param(*case, marks=pytest.mark.thorough) for case in MATRIX]


def a_table(seed: str) -> bytes:
    """A CSV of some nine megabytes, another one for each seed."""
    chosen = random.Random(seed)
    return b"id,name,age\n" + b"".join(ROW % (n, chosen.randrange(100)) for n in range(120_000))


@dataclass
class Killer:
    """Kills when the client has come so far, and starts again what it has killed."""

    stack: Stack
    seed: str
    heard: dict[str, asyncio.Event] = field(default_factory=dict)
    pieces: int = 0

    def __post_init__(self) -> None:
        self.chosen = random.Random(self.seed)
        self.middle = self.chosen.randrange(5, 60)  # pieces, of some seventy
        self.heard = {name: asyncio.Event() for name in ("create", "middle", "last piece")}

    def hear(self, said: str) -> None:
        self.pieces += said == "piece"
        if self.pieces >= self.middle:
            self.heard["middle"].set()
        if said in self.heard:
            self.heard[said].set()

    async def come(self, moment: str) -> None:
        match moment:
            case "creation":
                await self.heard["create"].wait()
                await asyncio.sleep(self.chosen.uniform(0, 0.02))  # the moment itself
            case "middle":
                await self.heard["middle"].wait()
            case "last byte":
                await self.heard["last piece"].wait()
            case "completion":
                await self.heard["last piece"].wait()
                await asyncio.sleep(self.chosen.uniform(0, 0.1))  # the moment itself

    async def kill(self, victim: str) -> None:
        match victim:
            case "ingest":
                await self.stack.kill("ingest")
                await self.stack.start("ingest", environment=INGEST)
            case "postgres":
                await self.stack.postgres.kill()
                await self.stack.postgres.start()
            case "rabbitmq":
                await self.stack.rabbitmq.kill()
                await self.stack.rabbitmq.start()


@pytest_asyncio.fixture(scope="module")
async def grown_up(stack: Stack) -> Stack:
    """A stack whose queues are old enough for RabbitMQ to be killed."""
    await stack.restart("ingest", environment=INGEST)
    async with Client(stack.base_url, stack.admin_key) as client:
        await client.watch((await client.upload(b"a,b\n1,2\n"))["job_id"])
    await asyncio.sleep(GROWN_UP_SECONDS)  # nothing tells when it is safe
    return stack


@pytest_asyncio.fixture
async def log(grown_up: Stack) -> AsyncIterator["Log"]:
    yield Log(grown_up)


@dataclass
class Log:
    stack: Stack

    async def fetchval(self, query: str, *arguments: object) -> int:
        connection = await asyncpg.connect(self.stack.postgres_url("owner"))
        try:
            return int(await connection.fetchval(query, *arguments) or 0)
        finally:
            await connection.close()

    async def completions(self, upload_id: str) -> int:
        return await self.fetchval(
            "SELECT count(*) FROM events.events WHERE stream = 'upload:' || $1 AND type = 'upload.completed'", upload_id
        )

    async def leftovers(self) -> int:
        """Rows that are not needed any more; files that nobody continues are given up first."""
        await self.fetchval("UPDATE ingest.files SET expires_at = now() WHERE completed_at IS NULL RETURNING 1")
        return await self.fetchval(
            "SELECT (SELECT count(*) FROM ingest.segments) + (SELECT count(*) FROM ingest.loose_blobs) + "
            "(SELECT count(*) FROM ingest.outbox) + (SELECT count(*) FROM ingest.files WHERE deleted_at IS NULL "
            "AND completed_at IS NULL AND part_of IS NULL)"
        )


async def all_is_well(log: Log, file: SentFile) -> None:
    stack, content = log.stack, file.content
    assert file.offsets == sorted(file.offsets), "what was told to be stored is stored"
    async with Client(stack.base_url, stack.admin_key) as client:
        upload = await client.get_until_answered(f"/api/v1/uploads/{file.id}")
        assert upload["bytes"] == len(content)
        assert upload["sha256"] == hashlib.sha256(content).hexdigest()
        seen = await client.watch(upload["job_id"])
    assert file.job_id in ("", upload["job_id"])
    assert await log.completions(file.id) == 1
    await everything_happened_once(stack, upload["job_id"], file.id, seen)
    async with asyncio.timeout(30):
        while await log.leftovers():
            await asyncio.sleep(0.05)
    blobs = stack.logs.parent / "blobs"
    assert hashlib.sha256((blobs / "uploads" / "default" / file.id).read_bytes()).hexdigest() == upload["sha256"]
    assert [path for path in (blobs / "segments").rglob("*") if path.is_file()] == []
    assert len(list((blobs / "uploads").rglob("*-*"))) == await log.fetchval("SELECT count(*) FROM ingest.uploads")


@pytest.mark.parametrize(("kind", "moment", "victim"), CASES, ids=["-".join(c) for c in MATRIX])
async def test_a_kill_at_any_moment_is_but_a_delay_for_its_client(
    log: Log, kind: str, moment: str, victim: str
) -> None:
    killer = Killer(log.stack, f"{kind} {moment} {victim}")
    async with TusClient(log.stack.base_url, log.stack.admin_key, killer.hear) as client, asyncio.timeout(90):
        sending = asyncio.ensure_future(KINDS[kind](client, a_table(killer.seed)))
        if moment == "after":
            await sending
        await killer.come(moment)
        await killer.kill(victim)
        file = await sending
        assert client.failures or (moment, victim) != ("middle", "ingest"), "it was killed under its client"
    await all_is_well(log, file)


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(6))
async def test_kills_one_after_the_other_are_but_a_delay(log: Log, seed: int) -> None:
    killer = Killer(log.stack, f"again and again {seed}")
    async with TusClient(log.stack.base_url, log.stack.admin_key, killer.hear, 0.05) as client, asyncio.timeout(110):
        kind = killer.chosen.choice(list(KINDS.values()))
        sending = asyncio.ensure_future(kind(client, a_table(killer.seed)))
        for victim in killer.chosen.choices(VICTIMS, k=3):
            await asyncio.sleep(killer.chosen.uniform(0, 0.8))  # the moment itself
            await killer.kill(victim)
        file = await sending
    await all_is_well(log, file)
