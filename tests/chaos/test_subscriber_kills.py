"""SIGKILL of a subscriber around each commit and publish on its way through ten events, of which one is poisonous. Real
processes, real RabbitMQ, real PostgreSQL. Another member of its group goes on. Then: what can be kept was kept once and
in order, and the poisonous event is a dead letter.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from deploy.process import ChildProcess, Command
from deploy.provision import Database
from events.broker.broker import Queue
from events.broker.by_url import open_broker
from fixtures import processes
from fixtures.log import note, open_log, request
from fixtures.passages import sampled
from fixtures.subscribers import Service

KILLPOINT = Path(__file__).parent / "killpoint"
SUBSCRIBER = Path(processes.__file__).with_name("subscriber.py")
EVENTS, POISONOUS = 10, 4

PASSAGES = [
    *[f"commit:{when}:{nth}" for when in ("before", "after") for nth in (1, 2, 3, 4, 5, 10)],
    *[f"publish:{when}:1" for when in ("before", "after")],
]


@asynccontextmanager
async def running(service: Service, broker_url: str, log: Path, **environment: str) -> AsyncIterator[ChildProcess]:
    process = ChildProcess(
        Command(
            argv=[sys.executable, str(SUBSCRIBER)],
            log=log,
            environment={
                "PATH": os.environ.get("PATH", os.defpath),
                "MILLRACE_DATABASE_URL": service.database_url,
                "MILLRACE_BROKER_URL": broker_url,
                "SERVICE": service.role,
                "POISONOUS": str(POISONOUS),
                **environment,
            },
        )
    )
    await process.start()
    try:
        yield process
    finally:
        await process.kill()


@pytest.mark.parametrize("at", sampled(PASSAGES))
async def test_a_subscriber_killed_at_any_passage_misses_nothing_and_does_nothing_twice(
    database: Database, service: Service, broker_url: str, tmp_path: Path, at: str
) -> None:
    armed, log = tmp_path / "armed", tmp_path / "subscriber.log"
    armed.touch()
    async with open_log(database) as opened:
        await opened.appender.append(request(*(note("note:1") for _ in range(EVENTS))))
    deadly = {"KILL_AT": at, "KILL_ARMED": str(armed), "PYTHONPATH": str(KILLPOINT)}
    async with (
        open_broker(broker_url, name="test") as broker,
        running(service, broker_url, log, **deadly) as dying,
    ):
        assert await dying.wait() != 0
        async with running(service, broker_url, log):
            wanted = [position for position in range(1, EVENTS + 1) if position != POISONOUS]
            async with asyncio.timeout(60):
                while len(kept := await service.kept()) < len(wanted):
                    await asyncio.sleep(0.05)
            assert kept == wanted, log.read_text()
        assert await broker.depth(Queue.DEAD) >= 1


@pytest.mark.thorough
async def test_members_of_a_group_that_are_killed_in_turn_miss_nothing_and_do_nothing_twice(
    database: Database, service: Service, broker_url: str, tmp_path: Path
) -> None:
    """Two at a time, under load. The older one is killed: mostly it is the one at work, while the other waits."""
    log, total = tmp_path / "subscriber.log", 0
    async with open_log(database) as opened, AsyncExitStack() as members:
        alive = [await members.enter_async_context(running(service, broker_url, log)) for _ in range(2)]
        for _ in range(2):
            for _ in range(5):
                await opened.appender.append(request(*(note("note:1") for _ in range(20))))
            total += 100
            before = len(await service.kept())
            async with asyncio.timeout(60):
                while len(await service.kept()) == before:
                    await asyncio.sleep(0.02)
            await alive.pop(0).kill()
            alive.append(await members.enter_async_context(running(service, broker_url, log)))
        async with asyncio.timeout(60):
            while len(kept := await service.kept()) < total - 1:
                await asyncio.sleep(0.05)
    assert kept == [position for position in range(1, total + 1) if position != POISONOUS], log.read_text()
