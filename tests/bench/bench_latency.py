"""From the upload's 202 to the job's first frame: four processes, RabbitMQ, PostgreSQL, a client behind the gateway.

One client has `/ws` open and gets the frame pushed; another opens `/ws/{job_id}` with the 202 in its hand, and its time
includes the handshake. Uploads come one after the other, as those of a person do.
"""

import asyncio
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import aiohttp

from bench.report import Aim, Result, percentiles
from deploy.stack import Stack

AIMS = {"first_frame_p50_ms": Aim(at_most=30), "first_frame_p99_ms": Aim(at_most=100)}
UPLOADS, WARM_UP = 300, 30
CSV = b"name,age\n" + b"".join(b"person %d,%d\n" % (n, n % 90) for n in range(100))


async def run() -> Result:
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        async with (
            Stack.open(Path(folder)) as stack,
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {stack.admin_key}"}) as session,
            session.ws_connect(f"{stack.base_url}/ws") as socket,
        ):
            first_frames = FirstFrames(socket)
            pushed = [await first_frames.time_of(session, stack.base_url) for _ in range(WARM_UP + UPLOADS)][WARM_UP:]
            first_frames.close()
            opened = [await _opened_after(session, stack.base_url) for _ in range(UPLOADS)]
    return Result(
        "latency",
        {"uploads": UPLOADS, "bytes": len(CSV), "in flight": 1, "from": "the 202 read", "to": "the frame read"},
        {
            **percentiles("first_frame", pushed, "ms"),
            **percentiles("opened_after_202", opened, "ms"),
        },
    )


async def _upload(session: aiohttp.ClientSession, base_url: str) -> tuple[str, float]:
    """The job's id, and when its 202 was read."""
    async with session.post(f"{base_url}/api/v1/uploads", data=CSV) as response:
        assert response.status == 202, await response.text()
        accepted = await response.json()
        return str(accepted["job_id"]), perf_counter()


class FirstFrames:
    """When the first frame of each job arrived on an open socket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._arrived: dict[str, asyncio.Future[float]] = {}
        self._finished: dict[str, asyncio.Event] = {}
        self._reading = asyncio.create_task(self._read(socket))

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            now = perf_counter()
            frame: dict[str, Any] = message.json()
            if "job_id" in frame and not (arrived := self._of(frame["job_id"])).done():
                arrived.set_result(now)
            if frame.get("status") in ("COMPLETED", "FAILED"):
                self._finished.setdefault(frame["job_id"], asyncio.Event()).set()

    def _of(self, job_id: str) -> asyncio.Future[float]:
        return self._arrived.setdefault(job_id, asyncio.get_running_loop().create_future())

    async def time_of(self, session: aiohttp.ClientSession, base_url: str) -> float:
        """Milliseconds; negative if the frame came before the 202."""
        job_id, accepted = await _upload(session, base_url)
        first = await self._of(job_id)
        await self._finished.setdefault(job_id, asyncio.Event()).wait()
        return (first - accepted) * 1000

    def close(self) -> None:
        self._reading.cancel()


async def _opened_after(session: aiohttp.ClientSession, base_url: str) -> float:
    job_id, accepted = await _upload(session, base_url)
    async with session.ws_connect(f"{base_url}/ws/{job_id}") as socket:
        await socket.receive()
        first = perf_counter()
        async for message in socket:
            if message.json().get("status") in ("COMPLETED", "FAILED"):
                break
    return (first - accepted) * 1000
