"""Clients that work, each one thing after the other, until they are told to stop; and what they were promised."""

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from fixtures.client import Client, Watched
from fixtures.tus_client import TusClient

PATIENCE = 120.0  # seconds

Work = Callable[[], Awaitable["Promise"]]


@dataclass(frozen=True, slots=True)
class Promise:
    """What was acknowledged, and what its client saw of it until its end."""

    kind: str
    accepted: Mapping[str, Any]
    seen: Watched
    ends: frozenset[str] = frozenset({"COMPLETED"})  # in which its job may end
    sha256: str = ""
    again: Callable[[], Awaitable[Any]] | None = None  # say the same again, under the same key

    @property
    def upload_id(self) -> str | None:
        return self.accepted.get("upload_id")


class Load:
    def __init__(self, works: Sequence[Work], *, pause: Callable[[], float] = lambda: 0.0) -> None:
        """`pause`: how many seconds a client takes between two things."""
        self._pause = pause
        self.kept: list[Promise] = []
        self._stop = asyncio.Event()
        self._clients = [asyncio.create_task(self._go(work)) for work in works]

    async def _go(self, work: Work) -> None:
        while not self._stop.is_set():
            self.kept.append(await work())
            await asyncio.sleep(self._pause())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, e: BaseException | None, t: TracebackType | None
    ) -> None:
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    async def until(self, count: int) -> None:
        """Until so many more promises are kept."""
        wanted = len(self.kept) + count
        async with asyncio.timeout(PATIENCE):
            while len(self.kept) < wanted:
                await asyncio.wait(self._clients, timeout=0.1, return_when=asyncio.FIRST_EXCEPTION)
                self.check()

    def check(self) -> None:
        """Raise what a client has failed with."""
        for failed in [task for task in self._clients if task.done()]:
            failed.result()

    async def finish(self) -> None:
        """Nothing new is begun, and what was begun comes to its end."""
        self._stop.set()
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*self._clients)


ITEMS = 4
WORKFLOW = {
    "name": "chaos",
    "steps": {
        "each": {
            "uses": "emit",
            "with": {"data": {"item": "${{ item }}"}},
            "map": {"items": f"${{{{ range({ITEMS}) }}}}", "parallel": 2},
        },
        "ask": {"uses": "approve", "with": {"question": "Go on?"}, "depends": ["each"]},
        "last": {"uses": "emit", "with": {"data": {"last": True}}, "depends": ["ask"]},
    },
}


@dataclass
class Customers:
    """What real clients do, at any of the gateways."""

    client: Client
    files: TusClient
    dice: random.Random

    async def upload(self) -> Promise:
        content, key = self._table(self.dice.randint(10, 2_000)), self._key()

        async def say() -> dict[str, Any]:
            return await self.client.upload(content, key=key)

        accepted = await say()
        seen = await self.client.watch(accepted["job_id"])
        return Promise("upload", accepted, seen, sha256=hashlib.sha256(content).hexdigest(), again=say)

    async def file(self) -> Promise:
        content = self._table(self.dice.randint(10, 8_000))
        file = await self.files.send(content)
        upload = await self.client.get_until_answered(f"/api/v1/uploads/{file.id}")
        accepted = {"upload_id": file.id, "job_id": upload["job_id"]}
        assert file.job_id in ("", upload["job_id"])
        assert file.offsets == sorted(file.offsets), "what was told to be stored is stored"
        seen = await self.client.watch(upload["job_id"])
        return Promise("file", accepted, seen, sha256=hashlib.sha256(content).hexdigest())

    async def command(self) -> Promise:
        """A workflow that asks: it is answered, at once or later, with yes or no, or cancelled."""
        key = self._key()

        async def say() -> Any:
            return await self.client.send("POST", "/api/v1/workflows/chaos/jobs", {}, key=key)

        job = await say()
        job_path = f"/api/v1/jobs/{job['id']}"
        how = self.dice.random()
        if how < 0.2:
            answer = await self.client.send("POST", f"{job_path}/cancel", {"reason": "enough"}, refused={409})
            assert answer is not None
            ends = frozenset({"CANCELLED"})
        else:
            yes = how < 0.9
            await self.client.send("POST", f"{job_path}/signals/ask", {"approved": yes})
            ends = frozenset({"COMPLETED" if yes else "FAILED"})
        return Promise("command", {"job_id": job["id"]}, await self.client.watch(job["id"]), ends, again=say)

    def _key(self) -> str:
        """Of no dice: another run of the same seed, on the same stack, means other jobs."""
        return f"chaos-{uuid4().hex}"

    def _table(self, rows: int) -> bytes:
        salt = self.dice.getrandbits(32)
        return b"name,age\n" + b"".join(b"person %d of %d,%d\n" % (n, salt, n % 90) for n in range(rows))
