"""Millrace's half of the benchmark `engine`: a whole processor, with its relays, on a PostgreSQL of its own."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec
from pydantic import SecretStr

from deploy.provision import Database
from events.append import Appender, AppendRequest, Expected
from events.broker_memory import MemoryBroker
from events.doorbell import Doorbell
from events.envelope import new_event, stream_name
from events.follow import Follower
from events.ids import new_id
from events.lifecycle import Parts, open_parts
from events.log import EventLog
from events.telemetry import configure_logging
from events.workflows import WorkflowPublished
from processor.app import open_service
from processor.settings import ProcessorSettings
from processor.workflows.definition import Definition
from processor.workflows.library import Edition
from processor.workflows.plan import plan
from processor.workflows.start import first_event

TERMINAL = {"job.completed", "job.failed", "job.cancelled"}


@dataclass
class Engine:
    parts: Parts
    appender: Appender
    doorbell: Doorbell
    editions: dict[str, Edition]

    async def publish(self, document: dict[str, Any], tenant: str = "bench") -> None:
        definition = msgspec.convert(document, Definition)
        stream = stream_name("workflow", definition.name)
        said = WorkflowPublished(version=1, document=document)
        event = new_event(type=said.event_type, stream=stream, tenant=tenant, source="/bench", data=said.encode())
        await self.appender.append(AppendRequest(tenant, stream, (event,), Expected.ANY))
        self.editions[definition.name] = Edition(definition.name, 1, plan(definition))

    def created(self, workflow: str, tenant: str = "bench") -> AppendRequest:
        said = first_event(self.editions[workflow], {})
        stream = stream_name("job", new_id())
        event = new_event(type=said.event_type, stream=stream, tenant=tenant, source="/bench", data=said.encode())
        return AppendRequest(tenant, stream, (event,), Expected.NONE)

    @asynccontextmanager
    async def following(self) -> AsyncIterator["Seen"]:
        log = EventLog(self.parts.pool)
        head = await log.head()
        seen = Seen()
        follower = Follower(log, after=head.position, epoch=head.epoch, doorbell=self.doorbell)
        task = asyncio.create_task(seen.follow(follower))
        try:
            yield seen
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


class Seen:
    """How many jobs have begun and ended, and when."""

    def __init__(self) -> None:
        self.ended: dict[str, float] = {}
        self.started: dict[str, float] = {}
        self._more = asyncio.Event()

    async def follow(self, follower: Follower) -> None:
        async for batch in follower:
            now = perf_counter()
            for event in batch:
                if event.type in TERMINAL:
                    assert event.type == "job.completed", bytes(event.data)
                    self.ended[event.subject] = now
                elif event.type == "job.started":
                    self.started[event.subject] = now
            self._more.set()

    async def until(self, jobs: int) -> None:
        while len(self.ended) < jobs:
            self._more.clear()
            await self._more.wait()


@asynccontextmanager
async def open_engine(database: Database, **changes: Any) -> AsyncIterator[Engine]:
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        configure_logging(Path(folder) / "processor.log", "WARNING")
        settings = ProcessorSettings(
            data_dir=Path(folder),
            database_url=SecretStr(database.url("processor")),
            principal_secret=SecretStr("a secret that only a benchmark knows"),
            **changes,
        )
        async with (
            open_parts(settings, "processor", broker=MemoryBroker()) as parts,
            Doorbell(parts.pool) as doorbell,
            Appender(parts.pool, function="processor.append", doorbell=doorbell) as appender,
        ):
            engine = Engine(parts, appender, doorbell, {})
            async with open_service(settings, parts):
                yield engine


def chain(name: str, steps: int, uses: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "steps": {f"s{n}": {**uses, **({"depends": [f"s{n - 1}"]} if n else {})} for n in range(steps)},
    }


async def jobs_s(engine: Engine, workflow: str, jobs: int) -> float:
    """Seconds until so many jobs, which were made before, are done."""
    async with engine.following() as seen:
        requests = [engine.created(workflow) for _ in range(jobs)]
        began = perf_counter()
        for first in range(0, jobs, 500):
            await engine.appender.append_all(requests[first : first + 500])
        await seen.until(jobs)
        return perf_counter() - began
