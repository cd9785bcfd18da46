"""Millrace's half of the benchmark `engine`: one whole processor with its relays, in a process of its own, under the
loop that it has in production. `python -m bench.engine_runs <database URL> --jobs=…` prints what `peers/` print.

Times are those at which the log holds what is waited for: a job that has begun is one whose `job.started` was read
back.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec
import uvloop
from pydantic import SecretStr

from bench.report import percentiles
from events.broker.memory import MemoryBroker
from events.envelope import new_event, stream_name
from events.ids import new_id
from events.lifecycle import Parts, open_parts
from events.log.append import Appender, AppendRequest, Expected
from events.log.doorbell import Doorbell
from events.log.follow import Follower
from events.log.log import EventLog
from events.telemetry import configure_logging
from events.workflows import WorkflowPublished
from processor.app import open_service
from processor.language.definition import Definition
from processor.queue import QUEUE_CHANNEL
from processor.settings import ProcessorSettings
from processor.workflows.library import Edition
from processor.workflows.plan import plan
from processor.workflows.start import first_event

ENDS = {"job.completed", "job.failed", "job.cancelled"}
ROUNDS = 3  # of the short ones; the median counts
TENANT, OTHER_TENANT = "bench", "other"
_BATCH = 500


class Seen:
    """When which job was begun and ended, as whoever follows the log sees it."""

    def __init__(self) -> None:
        self.ended: dict[str, float] = {}
        self.started: dict[str, float] = {}
        self._more = asyncio.Condition()

    async def follow(self, follower: Follower) -> None:
        async for batch in follower:
            now = perf_counter()
            async with self._more:
                for event in batch:
                    if event.type in ENDS:
                        assert event.type == "job.completed", bytes(event.data)
                        self.ended[event.subject] = now
                    elif event.type == "job.started":
                        self.started[event.subject] = now
                self._more.notify_all()

    async def until_ended(self, jobs: int) -> None:
        async with self._more:
            await self._more.wait_for(lambda: len(self.ended) >= jobs)

    async def until_started(self, stream: str) -> float:
        async with self._more:
            await self._more.wait_for(lambda: stream in self.started)
        return self.started[stream]


@dataclass
class Engine:
    parts: Parts
    appender: Appender
    doorbell: Doorbell
    queue_bell: Doorbell
    editions: dict[str, Edition] = field(default_factory=dict)

    async def publish(self, name: str, steps: Mapping[str, Any]) -> None:
        document = {"name": name, "steps": steps}
        stream = stream_name("workflow", name)
        said = WorkflowPublished(version=1, document=document)
        for tenant in (TENANT, OTHER_TENANT):
            event = new_event(type=said.event_type, stream=stream, tenant=tenant, source="/bench", data=said.encode())
            await self.appender.append(AppendRequest(tenant, stream, (event,), Expected.NONE))
        self.editions[name] = Edition(name, 1, plan(msgspec.convert(document, Definition)))

    def job_of(self, workflow: str, tenant: str = TENANT) -> AppendRequest:
        said = first_event(self.editions[workflow], {})
        stream = stream_name("job", new_id())
        event = new_event(type=said.event_type, stream=stream, tenant=tenant, source="/bench", data=said.encode())
        return AppendRequest(tenant, stream, (event,), Expected.NONE)

    async def begin(self, workflow: str, jobs: int) -> None:
        requests = [self.job_of(workflow) for _ in range(jobs)]
        for first in range(0, jobs, _BATCH):
            await self._made(*requests[first : first + _BATCH])

    async def _made(self, *requests: AppendRequest) -> None:
        """As the API makes jobs: recorded, and then announced."""
        await self.appender.append_all(requests)
        self.queue_bell.ring()

    @asynccontextmanager
    async def following(self) -> AsyncIterator[Seen]:
        """From now on."""
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

    async def seconds(self, workflow: str, jobs: int = 1) -> float:
        """From the first job's creation to the last one's end."""
        async with self.following() as seen:
            began = perf_counter()
            await self.begin(workflow, jobs)
            await seen.until_ended(jobs)
            return perf_counter() - began

    async def start_ms(self, workflow: str) -> float:
        """From a job's creation to its start, with nothing else to do."""
        async with self.following() as seen:
            request = self.job_of(workflow)
            began = perf_counter()
            await self._made(request)
            started = await seen.until_started(request.stream)
            await seen.until_ended(1)
            return (started - began) * 1000

    async def second_tenant_ms(self, workflow: str, behind: int) -> float:
        """The same for a tenant's first job, when so many of another's are being worked off."""
        async with self.following() as seen:
            await self.begin(workflow, behind)
            await seen.until_ended(1)
            request = self.job_of(workflow, OTHER_TENANT)
            began = perf_counter()
            await self._made(request)
            started = await seen.until_started(request.stream)
            assert len(seen.ended) < behind, "too few to wait behind"
            await seen.until_ended(behind + 1)
            return (started - began) * 1000


@asynccontextmanager
async def open_engine(database_url: str) -> AsyncIterator[Engine]:
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        configure_logging(Path(folder) / "processor.log", "WARNING")
        settings = ProcessorSettings(
            data_dir=Path(folder),
            database_url=SecretStr(database_url),
            principal_secret=SecretStr("a secret that only a benchmark knows"),
        )
        async with (
            open_parts(settings, "processor", broker=MemoryBroker()) as parts,
            Doorbell(parts.pool) as doorbell,
            Doorbell(parts.pool, QUEUE_CHANNEL) as queue_bell,
            Appender(parts.pool, function="processor.append", doorbell=doorbell) as appender,
            open_service(settings, parts),
        ):
            yield Engine(parts, appender, doorbell, queue_bell)


def chain(steps: int, what: Mapping[str, Any]) -> dict[str, Any]:
    return {f"s{n}": {**what, **({"depends": [f"s{n - 1}"]} if n else {})} for n in range(steps)}


async def measured(sizes: argparse.Namespace) -> dict[str, float]:
    async with open_engine(sizes.database_url) as engine:
        await engine.publish("one", chain(1, {"uses": "noop"}))
        await engine.publish("many", chain(sizes.steps, {"uses": "noop"}))
        await engine.publish(
            "chain", chain(sizes.chain_steps, {"uses": "sleep", "with": {"seconds": sizes.chain_seconds}})
        )
        mapped = {"items": f"${{{{ range({sizes.items}) }}}}", "parallel": 100}
        await engine.publish("map", {"m": {"uses": "noop", "map": mapped}})
        await engine.seconds("one")  # whatever is done once
        rounds = [sizes.jobs * sizes.steps / await engine.seconds("many", sizes.jobs) for _ in range(ROUNDS)]
        chains = [await engine.seconds("chain") for _ in range(ROUNDS)]
        return {
            "steps_per_s": statistics.median(rounds),
            "jobs_per_s": sizes.one_step_jobs / await engine.seconds("one", sizes.one_step_jobs),
            "chain_s": statistics.median(chains),
            "map_s": await engine.seconds("map"),
            **percentiles("start", [await engine.start_ms("one") for _ in range(sizes.samples)], "ms"),
            "second_tenant_ms": await engine.second_tenant_ms("one", sizes.behind),
        }


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("database_url")
    for name in ("jobs", "steps", "one-step-jobs", "chain-steps", "items", "samples", "behind"):
        options.add_argument(f"--{name}", type=int, required=True)
    options.add_argument("--chain-seconds", type=float, required=True)
    found = uvloop.run(measured(options.parse_args()))
    print(json.dumps({"settings": {}, "figures": found}))


if __name__ == "__main__":
    main()
