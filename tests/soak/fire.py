"""The log under fire: 64 writers in processes that are killed, on a Postgres whose backends are killed, and a reader at
its tail. Whatever happens, the reader sees every position once and in order, and everything that was acknowledged."""

import asyncio
import contextlib
import os
import random
import signal
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from deploy.provision import Database
from events.database import database_gone, open_pool
from events.envelope import RecordedEvent
from events.log.doorbell import Doorbell
from events.log.follow import Follower
from events.log.log import EventLog

PROCESSES = 4
TASKS = 16  # writers of each process
_WRITER = Path(__file__).with_name("writer.py")


@dataclass
class Report:
    events: int = 0
    acknowledged: int = 0
    writers_killed: int = 0
    backends_killed: int = 0


@dataclass
class Fire:
    database: Database
    wanted: int
    seed: int
    report: Report = field(default_factory=Report)
    _acknowledged: set[str] = field(default_factory=set)
    _seen: set[str] = field(default_factory=set)
    _done: asyncio.Event = field(default_factory=asyncio.Event)
    _writers: list[asyncio.Task[None]] = field(default_factory=list)

    async def burn(self) -> Report:
        dice = random.Random(self.seed)
        async with asyncio.TaskGroup() as all_of_it:
            for number in range(PROCESSES):
                writer = self._keep_a_writer(random.Random(dice.random()), number)
                self._writers.append(all_of_it.create_task(writer))
            all_of_it.create_task(self._kill_backends(random.Random(dice.random())))
            all_of_it.create_task(self._read())
        missing = self._acknowledged - self._seen
        assert not missing, f"{len(missing)} acknowledged events are not in the log"
        self.report.acknowledged = len(self._acknowledged)
        return self.report

    async def _keep_a_writer(self, dice: random.Random, number: int) -> None:
        """Start it, kill it in the middle of its work, and start it again, until enough is written."""
        while not self._done.is_set():
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(_WRITER),
                self.database.url("processor"),
                str(TASKS),
                str(self.seed + number),
                stdout=asyncio.subprocess.PIPE,
            )
            hearing = asyncio.create_task(self._hear(process))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._done.wait(), dice.uniform(2, 8))
            process.kill()
            await process.wait()
            await hearing
            self.report.writers_killed += 1

    async def _hear(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            if line.endswith(b"\n"):  # the last line may be cut off by the kill
                self._acknowledged.add(line.strip().decode())

    async def _kill_backends(self, dice: random.Random) -> None:
        """Mostly one session is ended; now and then its process is killed, and Postgres recovers from a crash."""
        while not self._done.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._done.wait(), dice.uniform(0.5, 2))
            try:
                await self._kill_one(dice)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                continue  # it is still recovering from the last one

    async def _kill_one(self, dice: random.Random) -> None:
        connection = await asyncpg.connect(self.database.admin_url)
        try:
            pids = await connection.fetch("SELECT pid FROM pg_stat_activity WHERE application_name = 'millrace-soak'")
            if pids and dice.random() < 0.1:
                os.kill(dice.choice(pids)["pid"], signal.SIGKILL)
            elif pids:
                await connection.fetchval("SELECT pg_terminate_backend($1)", dice.choice(pids)["pid"])
            self.report.backends_killed += len(pids) > 0
        finally:
            connection.terminate()

    async def _read(self) -> None:
        """Follow the log from its first event; `Follower` itself raises on a hole."""
        versions: Counter[str] = Counter()
        position = 0
        async with open_pool(self.database.url("notifier"), name="reader", size=3) as pool, Doorbell(pool) as doorbell:
            log = EventLog(pool)
            epoch = (await log.head()).epoch
            while True:
                follower = Follower(log, after=position, epoch=epoch, doorbell=doorbell, poll=0.2)
                try:
                    async for batch in follower:
                        for event in batch:
                            self._check(event, position, versions)
                            position = event.position
                        if position >= self.wanted:
                            self._done.set()
                            await asyncio.wait(self._writers)
                            if position == (await log.head()).position:
                                self.report.events = position
                                return
                except Exception as error:
                    if not database_gone(error):
                        raise
                await asyncio.sleep(0.05)

    def _check(self, event: RecordedEvent, position: int, versions: Counter[str]) -> None:
        assert event.position == position + 1, "a hole, or out of order"
        versions[event.subject] += 1
        assert event.version == versions[event.subject], "a version is missing, or twice"
        assert str(event.id) not in self._seen, "the same event twice"
        self._seen.add(str(event.id))
