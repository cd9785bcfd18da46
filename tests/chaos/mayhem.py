"""The whole stack under load while whatever can happen to it happens, drawn by dice: MILLRACE_CHAOS_SECONDS of it, of
the seed MILLRACE_CHAOS_SEED. Then every history is judged. What was found is written to build/chaos/."""

import asyncio
import random
import shutil
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from chaos.audience import Audience, rows_of_jobs
from chaos.breakable import Breakable
from chaos.centrifugo_followers import CentrifugoFollower
from chaos.faults import Fault, drawn, kinds
from chaos.followers import LOG, Track
from chaos.load import WORKFLOW, Customers, Load
from chaos.progress_followers import LogFollower
from chaos.sse_followers import SseFollower
from chaos.survival import Survival
from chaos.verdict import judged
from fixtures.client import Client
from fixtures.tus_client import TusClient

REPORTS = Path(__file__).parents[2] / "build" / "chaos"

# Nothing that was acknowledged may take longer to come to its end, once nothing happens any more.
RECOVERY_SECONDS = 120.0
_CUSTOMERS = 2  # of each kind
_TOGETHER = 3  # faults that last at the same time, at most
_PROBE = {"name": "chaos-probe", "steps": {"only": {"uses": "noop"}}}
_TABLE = b"name,age\nAda,36\n"


@dataclass
class Heard:
    """What followers are told of jobs, and how far the log has come."""

    head: int = 0
    deliveries: int = 0

    def newest(self, channel: str) -> int:
        return self.head

    def arrived(self) -> None:
        self.deliveries += 1


@dataclass
class Mayhem:
    on: Breakable
    seed: int
    restless: bool = True  # followers end their connections themselves, too
    followers: int = 2  # of each dialect
    survival: Survival = field(default_factory=Survival)
    heard: Heard = field(default_factory=Heard)
    kept: str = ""

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)
        dice = random.Random(self._dice.random())
        self.audience = Audience(self.on.gateways, self.on.stack.admin_key, self.heard, dice, restless=self.restless)
        self._began = asyncio.get_running_loop().time()
        self._after = 0  # the position of what was there before
        self._deck: list[str] = []
        self.clients: list[Client] = []
        self.files: list[TusClient] = []
        self._probed = 0

    # A run

    async def rage(self, seconds: float) -> None:
        """For so long, but at least until each kind of fault has had its turn."""

        async def bouts(load: Load) -> None:
            until = self._now() + seconds
            while True:
                await self._bout(self._dice.randint(1, _TOGETHER))
                load.check()
                if self._now() >= until and not self._deck:
                    return

        await self.under_load(bouts)

    async def under_load(self, work: Callable[[Load], Awaitable[None]]) -> None:
        """Do it while clients work and follow. Then they come to their end, and everything is judged."""
        self.note(f"seed {self.seed}")
        try:
            async with AsyncExitStack() as parts:
                load = await self._begin(parts)
                async with asyncio.TaskGroup() as group:
                    following = [group.create_task(follower.follow()) for follower in self.audience.followers]
                    await work(load)
                    self.note("nothing happens any more: what was begun comes to its end")
                    await load.finish()
                    await self._probe()  # a repetition would show before it
                    await self._all_told()
                    for task in following:
                        task.cancel()
                self.audience.check(await rows_of_jobs(self.on.stack, after=self._after))
                self.kept = await judged(self.on.stack, load.kept, probes=self._probed, after=self._after)
        except BaseException as failed:
            failed.add_note(f"This was the chaos of seed {self.seed}, told in {self._written(failed)}")
            raise

    def report(self) -> list[str]:
        told = f"{self.heard.deliveries} deliveries to {len(self.audience.followers)} followers"
        ends = sum(self.audience.ways.ends.values())
        return [f"seed {self.seed}", *self.survival.lines(), f"{self.kept}, {told}, who came again {ends} times"]

    async def _begin(self, parts: AsyncExitStack) -> Load:
        self.clients = [await parts.enter_async_context(self._client(first)) for first in (0, 1)]
        for document in (WORKFLOW, _PROBE):
            await self.clients[0].send("PUT", f"/api/v1/workflows/{document['name']}", document)
        self._after = max((row["position"] for row in await rows_of_jobs(self.on.stack)), default=0)
        for kind in (LogFollower, CentrifugoFollower, SseFollower):
            for _ in range(self.followers):
                self.audience.add(kind, Track(LOG, self._after, self._after, noted=False))
        works = []
        for number in range(_CUSTOMERS):
            client = self.clients[number % 2]
            files = await parts.enter_async_context(self._files(number % 2))
            self.files.append(files)
            customers = Customers(client, files, random.Random(self._dice.random()))
            works += [customers.upload, customers.command, customers.file]
        dice = random.Random(self._dice.random())
        return await parts.enter_async_context(Load(works, pause=lambda: dice.uniform(0, 0.4)))

    @asynccontextmanager
    async def _client(self, first: int) -> AsyncIterator[Client]:
        gateways = self.on.gateways[first:] + self.on.gateways[:first]
        async with Client(gateways[0], self.on.stack.admin_key, *gateways[1:]) as client:
            client.failed = lambda said: self._failed(client, said)
            yield client

    @asynccontextmanager
    async def _files(self, first: int) -> AsyncIterator[TusClient]:
        gateways = self.on.gateways[first:] + self.on.gateways[:first]
        async with TusClient(gateways[0], self.on.stack.admin_key, others=tuple(gateways[1:])) as client:
            yield client

    # What happens

    async def _bout(self, count: int) -> None:
        """Some faults at a time, and then as long as it takes until all goes well."""
        faults: dict[str, Fault] = {}
        for kind in self._next_kinds(count):
            fault = drawn(kind, self.on, self._dice)
            while fault.victim in faults:
                fault = drawn(kind, self.on, self._dice)
            faults[fault.victim] = fault
        pauses = [self._dice.uniform(0, 1.0) for _ in faults]
        async with asyncio.TaskGroup() as group:
            for fault, pause in zip(faults.values(), pauses, strict=True):
                group.create_task(self._happen(fault, pause))
        mended = self._now()
        await self._probe()
        self.survival.recoveries.append(self._now() - mended)
        self.note(f"all goes well, {self._now() - mended:.2f} s later")

    def _next_kinds(self, count: int) -> list[str]:
        """Each in its turn, in an order that changes."""
        if not self._deck:
            self._deck = kinds(self.on)
            self._dice.shuffle(self._deck)
        chosen, self._deck = self._deck[:count], self._deck[count:]
        return chosen

    async def _happen(self, fault: Fault, pause: float) -> None:
        await asyncio.sleep(pause)
        self.note(f"{fault.kind} {fault.victim}: {fault.told}, for {fault.seconds:.2f} s")
        try:
            await fault.begin()
            await asyncio.sleep(fault.seconds)
        finally:
            await fault.mend()
            self.note(f"mended: {fault.kind} {fault.victim}")
        self.survival.survived(fault.kind, fault.victim)

    # What must come right again

    async def _probe(self) -> None:
        """By each door, a file and a command are taken, done, and told of."""
        async with AsyncExitStack() as parts:
            clients = [await parts.enter_async_context(self._client(first)) for first in (0, 1)]
            try:
                async with asyncio.timeout(RECOVERY_SECONDS):
                    probes = (probe(client) for client in clients for probe in (self._command, self._upload))
                    await asyncio.gather(*probes)
            except TimeoutError:
                failures = [failure for client in clients for failure in client.failures[-3:]]
                raise AssertionError(f"It goes not well again within {RECOVERY_SECONDS:.0f} s: {failures}") from None

    async def _command(self, client: Client) -> None:
        job = await client.send("POST", "/api/v1/workflows/chaos-probe/jobs", {})
        await self._done(client, job["id"])

    async def _upload(self, client: Client) -> None:
        accepted = await client.upload(_TABLE)
        await self._done(client, accepted["job_id"])

    async def _done(self, client: Client, job_id: str) -> None:
        seen = await client.watch(job_id)
        assert seen.frames[-1]["status"] == "COMPLETED", seen.frames[-1]
        self._probed += 1

    async def _all_told(self) -> None:
        self.heard.head = max(row["position"] for row in await rows_of_jobs(self.on.stack))
        try:
            async with asyncio.timeout(RECOVERY_SECONDS):
                while not self.audience.complete:
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"Not everybody is told everything:\n{self.audience.missing()}") from None

    # What is told of it

    def clock(self) -> float:
        return asyncio.get_running_loop().time()

    def _now(self) -> float:
        return self.clock() - self._began

    def note(self, what: str) -> None:
        self.survival.note(self._now(), what)

    def _failed(self, client: Client, said: str) -> None:
        client.failures.append(said)
        if not self.restless:  # else it is no wonder
            self.note(said)

    def _written(self, failed: BaseException) -> Path:
        REPORTS.mkdir(parents=True, exist_ok=True)
        path = REPORTS / f"seed-{self.seed}.txt"
        told = "".join(traceback.format_exception(failed))
        shutil.copytree(self.on.stack.logs, REPORTS / f"seed-{self.seed}-logs", dirs_exist_ok=True)
        followers = msgspec.json.encode(
            {f.name: {name: track.told[-200:] for name, track in f.tracks.items()} for f in self.audience.followers}
        ).decode()
        path.write_text("\n".join([*self.report(), "", *self.survival.timeline, "", told, "", followers, ""]))
        return path
