"""How long a client waits for its first frame after the 202 of its upload, through the whole stack: gateway, ingest,
RabbitMQ, processor, PostgreSQL, RabbitMQ again, notifier, gateway.

Uploads come at a steady rate, whether or not the ones before are finished. Once each client opens `/ws/{job_id}` when
it has its 202, once one client has `/ws` open all the while. Of the second it is told where the time goes, by the time
that the processor wrote into the event, and by when the feed brought it to a listener beside the notifier.
"""

import asyncio
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from bench.report import Aim, Result, percentiles
from deploy.stack import Stack
from events.broker.broker import Exchange
from events.broker.by_url import open_broker
from events.envelope import decode_batch

AIMS = {"first_frame_p50_ms": Aim(at_most=30), "first_frame_p99_ms": Aim(at_most=100)}

UPLOADS = 300
UPLOADS_PER_S = 10
WARM_UP_UPLOADS = 30
_CSV = b"name,age\nada,36\ngrace,85\n"
_PATIENCE_SECONDS = 60


@dataclass
class Seen:
    """When what happened to each job, in seconds of the wall clock that all processes share."""

    answered: dict[str, float] = field(default_factory=dict)  # its upload's 202 was here
    recorded: dict[str, float] = field(default_factory=dict)  # the processor made its first event
    fed: dict[str, float] = field(default_factory=dict)  # RabbitMQ delivered it
    told: defaultdict[str, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))
    told_at: dict[str, float] = field(default_factory=dict)  # its first frame was at the client

    def hear(self, message: str) -> None:
        now = time.time()
        frame = json.loads(message)
        if frame.get("version") == 1:
            self.told_at[frame["job_id"]] = now
            self.told[frame["job_id"]].set()

    def waits(self) -> list[float]:
        """Milliseconds from the 202 to the first frame; one that came before the 202 was not waited for."""
        return [max(0.0, ms) for ms in self.between(self.answered, self.told_at)]

    def between(self, begin: dict[str, float], end: dict[str, float]) -> list[float]:
        """Milliseconds. Who watches the feed may come too late for the first jobs."""
        return [(end[job_id] - begin[job_id]) * 1000 for job_id in self.answered if job_id in begin and job_id in end]


class Clients:
    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def upload(self, seen: Seen) -> str:
        async with self._session.post(f"{self._url}/api/v1/uploads?workflow=csv-profile", data=_CSV) as response:
            assert response.status == 202, await response.text()
            job_id: str = (await response.json())["job_id"]
            seen.answered[job_id] = time.time()
            return job_id

    async def upload_and_open(self, seen: Seen) -> None:
        job_id = await self.upload(seen)
        async with self._session.ws_connect(f"{self._url}/ws/{job_id}") as socket:
            while not seen.told[job_id].is_set():
                seen.hear(await socket.receive_str())

    async def upload_and_wait(self, seen: Seen) -> None:
        await seen.told[await self.upload(seen)].wait()

    @asynccontextmanager
    async def listening(self, seen: Seen) -> AsyncIterator[None]:
        async with self._session.ws_connect(f"{self._url}/ws") as socket:
            await socket.receive_str()  # the greeting: whatever comes from now on is told

            async def listen() -> None:
                async for message in socket:
                    seen.hear(message.data)

            task = asyncio.create_task(listen())
            try:
                yield
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def watching_the_feed(broker_url: str, seen: Seen) -> AsyncIterator[None]:
    async def watch() -> None:
        async with open_broker(broker_url, name="bench") as broker, broker.subscribe(Exchange.FEED, limit=1000) as feed:
            async for message in feed:
                now = time.time()
                for event in decode_batch(message.body):
                    if event.type == "job.created":
                        job_id = event.subject.partition(":")[2]
                        seen.fed[job_id] = now
                        seen.recorded[job_id] = event.time.timestamp()

    task = asyncio.create_task(watch())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def steadily(client: Callable[[], Coroutine[Any, Any, None]], count: int) -> None:
    """`count` clients at the rate, each beginning in its time, whatever the others do."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    async with asyncio.timeout(count / UPLOADS_PER_S + _PATIENCE_SECONDS), asyncio.TaskGroup() as clients:
        for number in range(count):
            await asyncio.sleep(begin + number / UPLOADS_PER_S - loop.time())
            clients.create_task(client())


async def run() -> Result:
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        async with Stack.open(Path(folder)) as stack:
            headers = {"Authorization": f"Bearer {stack.admin_key}"}
            async with aiohttp.ClientSession(headers=headers) as session:
                clients = Clients(session, stack.base_url)
                opening, listening = Seen(), Seen()
                await steadily(lambda: clients.upload_and_open(Seen()), WARM_UP_UPLOADS)
                await steadily(lambda: clients.upload_and_open(opening), UPLOADS)
                async with clients.listening(listening), watching_the_feed(stack.broker_url, listening):
                    await steadily(lambda: clients.upload_and_wait(listening), UPLOADS)
    return Result(
        "latency",
        {"uploads": UPLOADS, "uploads_per_s": UPLOADS_PER_S, "bytes": len(_CSV), "broker": "RabbitMQ"},
        percentiles("first_frame", opening.waits(), "ms")
        | percentiles("open_socket", listening.waits(), "ms")
        | dict(_stages(listening)),
    )


def _stages(seen: Seen) -> Iterator[tuple[str, float]]:
    """Where the time goes. The first stage may be negative: ingest publishes before its 202 is at the client."""
    for name, begin, end in (
        ("from_202_to_intake", seen.answered, seen.recorded),
        ("from_intake_to_feed", seen.recorded, seen.fed),
        ("from_feed_to_client", seen.fed, seen.told_at),
    ):
        yield from percentiles(name, seen.between(begin, end), "ms").items()
