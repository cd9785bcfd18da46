"""Many clients over the gateways, somebody who writes all the time, and processes that are killed meanwhile.

Whatever happens, each client is told every event of each channel that it follows once and in order. What a client
cannot know while it listens, the log knows in the end.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import aiohttp

from chaos.audience import TENANT, Audience, rows_of_jobs
from chaos.centrifugo_followers import CentrifugoFollower
from chaos.fleet import Fleet
from chaos.followers import LOG, Follower, Track
from chaos.progress_followers import JobFollower, JobsFollower, LogFollower
from chaos.sse_followers import SseFollower
from events.envelope import Event, new_event, stream_name
from events.ids import new_id
from events.jobs import JobProgressed, JobStatus
from events.log.append import Appended, AppendRequest
from events.log.log import EventLog

JOBS = 24
_PADDING = 12_000  # bytes of what is said of the first job, so that who stops reading it is soon behind
_HASTE, _LEISURE = 0.005, 0.03  # seconds between appends: until the next fault is due, and while the last one lasts
_FARTHEST_BEHIND = 20_000  # deliveries that may be outstanding until the writer waits
_MORE = 10_000  # deliveries, if nobody has fallen behind yet
_PATIENCE = 90.0  # seconds


@dataclass
class Written:
    """What was appended and acknowledged, and how often it was told."""

    versions: dict[str, int] = field(default_factory=dict)
    position: int = 0
    events: int = 0
    deliveries: int = 0

    def newest(self, channel: str) -> int:
        return self.position if channel == LOG else self.versions[channel]

    def arrived(self) -> None:
        self.deliveries += 1


@dataclass
class Storm:
    fleet: Fleet
    seed: int
    wanted: int  # deliveries
    faults: list[str]  # what is killed, one after the other: processes, several joined by "+", or "broker"
    written: Written = field(default_factory=Written)
    demotions: float = 0.0
    _jobs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)
        self._began = 0  # the position of what was there before
        self._due = 0.0  # deliveries after which the next fault comes
        stack = self.fleet.stack
        gateways = [stack.url(name) for name in stack.processes if name.startswith("gateway")]
        self._audience = Audience(gateways, stack.admin_key, self.written, random.Random(self._dice.random()))

    async def rage(self) -> None:
        print(f"seed {self.seed}")
        try:
            await self._begin()
            async with asyncio.TaskGroup() as group:
                following = [group.create_task(self._join(follower)) for follower in self._audience.followers]
                wrecking = group.create_task(self._wreck())
                await self._write(until=lambda: self.written.deliveries >= self.wanted and wrecking.done())
                while not (self.demotions or await self._demotions_of_all()):
                    await self._write(until=self._has_delivered(self.written.deliveries + _MORE))
                await self._all_told()
                await self._append([(job_id, 1) for job_id in self._jobs])  # a repetition would show before it
                await self._all_told()
                for task in following:
                    task.cancel()
            self.demotions += await self._demotions_of_all()
            self._audience.check(await rows_of_jobs(self.fleet.stack, after=self._began))
        except BaseException as failed:
            failed.add_note(f"This was the storm of seed {self.seed}: {self.report}")
            raise

    @property
    def report(self) -> Mapping[str, object]:
        told = self.written
        return {
            "events": told.events,
            "deliveries": told.deliveries,
            "demotions": self.demotions,
        } | self._audience.ways.ends

    # Clients

    async def _begin(self) -> None:
        self._began = (await EventLog(self.fleet.pool).head()).position
        self._jobs = [str(new_id()) for _ in range(JOBS)]
        await self._append([(job_id, self._dice.randint(1, 5)) for job_id in self._jobs])
        for number in range(12):
            job_id = self._jobs[number] if number % 4 else self._jobs[0]
            known = self._dice.randint(0, self.written.versions[job_id])
            self._audience.add(JobFollower, Track(job_id, known, known))
        for kind, count, most in (
            (JobsFollower, 8, 5),
            (CentrifugoFollower, 10, 6),
            (SseFollower, 4, 1),
            (SseFollower, 4, 5),
        ):
            for _ in range(count):
                self._audience.add(kind, *(Track(job_id) for job_id in self._dice.sample(self._jobs, most)))
        for log in (LogFollower, CentrifugoFollower, SseFollower):
            for begin in (self._began, None):
                self._audience.add(log, Track(LOG, begin or 0, begin))
        for kind in (CentrifugoFollower, SseFollower):
            self._audience.add(kind, Track(self._jobs[0], conflated=True))
            self._audience.add(kind, Track(LOG, self._began, self._began, conflated=True))
        for slowest in (JobFollower, CentrifugoFollower, SseFollower):
            self._audience.add(slowest, Track(self._jobs[0]), sluggish=True)
        everything = Track(LOG, self._began, self._began)
        self._audience.add(CentrifugoFollower, everything, *(Track(job_id) for job_id in self._jobs[:3]))

    async def _join(self, follower: Follower) -> None:
        """Some come late, to a log that is long by then."""
        late = self.wanted * self._dice.random() / 2 if self._dice.random() < 0.3 else 0
        while self.written.deliveries < late:
            await asyncio.sleep(0.05)
        await follower.follow()

    # The writer

    async def _write(self, *, until: Callable[[], bool]) -> None:
        while not until():
            some = self._dice.sample(self._jobs[1:], self._dice.randint(1, 6))
            batch = [(job_id, self._dice.randint(1, 8)) for job_id in some]
            if self._dice.random() < 0.5:
                batch.append((self._jobs[0], self._dice.randint(1, 8)))
            await self._append(batch)
            await asyncio.sleep(_HASTE if self.written.deliveries < self._due else _LEISURE)
            await self._until(lambda: self._audience.outstanding < _FARTHEST_BEHIND)

    def _has_delivered(self, count: int) -> Callable[[], bool]:
        return lambda: self.written.deliveries >= count

    async def _append(self, batch: list[tuple[str, int]]) -> None:
        outcomes = await asyncio.gather(*(self._append_to(job_id, count) for job_id, count in batch))
        self.written.position = max(self.written.position, *(outcome.last_position for outcome in outcomes))

    async def _append_to(self, job_id: str, count: int) -> Appended:
        versions = self.written.versions
        begin = versions.get(job_id, 0)
        events = tuple(self._event(job_id, begin + number) for number in range(1, count + 1))
        outcome = await self.fleet.appender.append(AppendRequest(TENANT, events[0].subject, events))
        assert isinstance(outcome, Appended)
        versions[job_id] = begin + count
        self.written.events += count
        return outcome

    def _event(self, job_id: str, version: int) -> Event:
        said = JobProgressed(
            status=JobStatus.PROCESSING,
            progress_percent=version % 100,
            current_step=f"{job_id} {version}",
            step_message="x" * _PADDING if self._jobs and job_id == self._jobs[0] else None,
        )
        return new_event(
            type="job.progressed", stream=stream_name("job", job_id), tenant=TENANT, source="/test", data=said.encode()
        )

    # What breaks

    async def _wreck(self) -> None:
        """Each fault in its turn, over the whole of the storm; what was killed is started again a little later."""
        for number, fault in enumerate(self.faults, 1):
            self._due = self.wanted * number / (len(self.faults) + 1)
            await self._until(lambda: self.written.deliveries >= self._due)
            if fault == "broker":
                await self._killed(self.fleet.stack.rabbitmq.kill, self.fleet.stack.rabbitmq.start)
            else:
                await asyncio.gather(*(self._kill(name) for name in fault.split("+")))
        self._due = self.wanted

    async def _kill(self, name: str) -> None:
        if name in self._notifiers:
            self.demotions += await self._demotions(name)
        await self._killed(lambda: self.fleet.stack.kill(name), lambda: self.fleet.stack.start(name))

    async def _killed(self, kill: Callable[[], Awaitable[None]], start: Callable[[], Awaitable[None]]) -> None:
        await kill()
        await asyncio.sleep(self._dice.uniform(0, 1.5))
        await start()

    # What is known

    @property
    def _notifiers(self) -> list[str]:
        return [name for name in self.fleet.stack.processes if name.startswith("notifier")]

    async def _demotions_of_all(self) -> float:
        return sum([await self._demotions(name) for name in self._notifiers])

    async def _demotions(self, name: str) -> float:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.fleet.stack.url(name)}/metrics") as response,
        ):
            lines = (await response.text()).splitlines()
        return sum(float(line.split()[1]) for line in lines if line.startswith("millrace_notifier_demotions_total "))

    async def _all_told(self) -> None:
        await self._until(lambda: self._audience.complete)

    async def _until(self, holds: Callable[[], bool]) -> None:
        """Patience is over when nobody is told anything any more."""
        told, clock = -1, asyncio.get_running_loop()
        while not holds():
            if told != self.written.deliveries:
                told, since = self.written.deliveries, clock.time()
            assert clock.time() - since < _PATIENCE, f"Nobody is told any more:\n{self._audience.missing()}"
            await asyncio.sleep(0.02)
