"""Fires what is due. Any number of replicas may: the log takes what is said at one exact version from one of them."""

import asyncio
import random
from datetime import datetime, timedelta
from uuid import UUID

from events.catalog import Payload
from events.database import Pool, database_gone, load_queries
from events.errors import Conflict, InvalidInput, NotFound, Unavailable
from events.ids import derived_id
from events.lifecycle import Parts
from events.log.append import Appended, Appender, Duplicate
from events.schedules import CatchUp, Overlap, ScheduleFired, ScheduleSkipped, SkipReason
from processor.quota import JobQuota
from processor.schedules.clock import Clock
from processor.schedules.launch import Launch, job_of
from processor.schedules.schedule import Known, job_id_of, known_of
from processor.schedules.timing import first_wanted, newest_before
from processor.settings import ProcessorSettings
from processor.workflows.library import Library

_LOOKED_AT = 200
_AT_ONCE = 16
_NEVER = timedelta.max
_LEFT_SECONDS = 30.0  # that a schedule with which something is wrong is left alone


class Firing:
    def __init__(
        self,
        parts: Parts,
        settings: ProcessorSettings,
        appender: Appender,
        library: Library,
        launch: Launch,
        quota: JobQuota,
        clock: Clock,
    ) -> None:
        self._pool: Pool = parts.pool
        self._settings = settings
        self._appender = appender
        self._library = library
        self._launch = launch
        self._quota = quota
        self._clock = clock
        self._queries = load_queries("processor", "schedules/queries.sql")
        self._alarm: asyncio.TimerHandle | None = None
        self._left: dict[UUID, float] = {}  # schedules with which something is wrong, and until when
        self.wake = asyncio.Event()  # there may be something due, or something else next
        self._telemetry = parts.telemetry
        self._log = parts.telemetry.log
        self._said = parts.telemetry.counter(
            "millrace_schedule_firings_total",
            "Firings of schedules, by what became of them.",
            {"outcome": ["fired", "error", *SkipReason]},
        )

    async def run_once(self) -> bool:
        """Fire some of what is due. True if there may be more."""
        now = await self._clock()
        clock = asyncio.get_running_loop()
        self._left = {id_: until for id_, until in self._left.items() if until > clock.time()}
        rows = await self._pool.fetch(self._queries["upcoming"], _LOOKED_AT, list(self._left))
        due = {(row["tenant"], row["id"]) for row in rows if row["next_at"] is None or row["next_at"] <= now}
        self._set_alarm(min((row["next_at"] - now for row in rows if (row["next_at"] or now) > now), default=_NEVER))
        # Any of them: others who look at the same time take other ones, mostly.
        chosen = random.sample(sorted(due), min(len(due), _AT_ONCE))
        moved = await asyncio.gather(*(self._move(tenant, id_, now) for tenant, id_ in chosen), return_exceptions=True)
        for (tenant, id_), outcome in zip(chosen, moved, strict=True):
            if isinstance(outcome, Exception) and not (database_gone(outcome) or isinstance(outcome, Unavailable)):
                # One that nobody can fire must not hold up the others.
                self._left[id_] = clock.time() + _LEFT_SECONDS
                self._said.labels("error").inc()
                self._log.error("schedule failed", tenant=tenant, schedule_id=str(id_), exc_info=outcome)
            elif isinstance(outcome, BaseException):
                raise outcome
        return True in moved

    async def _move(self, tenant: str, id_: UUID, now: datetime) -> bool:
        """One step on. False if there is none, or somebody else was faster."""
        row = await self._pool.fetchrow(self._queries["schedule"], tenant, id_)
        if row is None:
            return False
        known = known_of(row)
        if known.starting is not None:
            await self._launch.keep_promise(known)
            return True
        next_at = known.view.next_at
        if next_at is None or next_at > now:
            return False
        at = self._wanted(known, next_at, now)
        if at is None or at > next_at:
            return await self._skip_missed(known, next_at, at, now)
        about = {"millrace.tenant": tenant, "millrace.schedule": str(id_)}
        with self._telemetry.span("schedule", attributes=about):  # where the trace of its job begins
            return await self._fire(known, at, now)

    def _wanted(self, known: Known, next_at: datetime, now: datetime) -> datetime | None:
        view = known.view
        most = self._settings.schedule_catch_up_jobs if view.catch_up is CatchUp.ALL else 1
        age = self._settings.schedule_grace_seconds if view.catch_up is CatchUp.NONE else view.catch_up_seconds
        oldest = None if age is None else now - timedelta(seconds=age)
        return first_wanted(known.timing, next_at, now, most=most, oldest=oldest)

    async def _skip_missed(self, known: Known, next_at: datetime, wanted: datetime | None, now: datetime) -> bool:
        timing = known.timing
        resumes = wanted or timing.next_after(now)
        until = newest_before(timing, wanted or now + timedelta(microseconds=1), next_at)
        said = ScheduleSkipped(at=next_at, until=until or next_at, reason=SkipReason.MISSED, next_at=resumes)
        return await self._say(known, said, now)

    async def _fire(self, known: Known, at: datetime, now: datetime) -> bool:
        next_at = known.timing.next_after(at)
        async with self._quota.judging(known.tenant) as exceeded:
            decided = await self._decided(known, at, next_at)
            if isinstance(decided, ScheduleFired):
                if exceeded is None:
                    return await self._promise(known, decided, now)
                decided = (SkipReason.QUOTA_EXCEEDED, exceeded.detail)
            reason, detail = decided
            said = ScheduleSkipped(at=at, until=at, reason=reason, detail=detail, next_at=next_at)
            return await self._say(known, said, now)

    async def _decided(
        self, known: Known, at: datetime, next_at: datetime | None
    ) -> ScheduleFired | tuple[SkipReason, str]:
        view = known.view
        most = 1 if view.overlap is Overlap.SKIP else self._settings.schedule_backlog
        if await self._pool.fetchval(self._queries["unfinished"], known.tenant, known.id, most) >= most:
            if view.overlap is Overlap.SKIP:
                return SkipReason.OVERLAP, "Its former job is not finished."
            return SkipReason.BACKLOG, f"It has {most} jobs that are not finished."
        job_id = job_id_of(known.id, at)
        try:
            edition = await self._library.startable(known.tenant, view.workflow, view.version)
            job_of(known, edition, job_id, at)
        except (NotFound, Conflict) as gone:
            return SkipReason.NOT_STARTABLE, gone.detail
        except InvalidInput as wrong:
            return SkipReason.INVALID_INPUT, wrong.detail
        return ScheduleFired(at=at, job_id=job_id, version=edition.version, next_at=next_at)

    async def _promise(self, known: Known, said: ScheduleFired, now: datetime) -> bool:
        if not await self._say(known, said, now, id_=derived_id(said.job_id, said.event_type)):
            return False
        row = await self._pool.fetchrow(self._queries["schedule"], known.tenant, known.id)
        if row is not None:
            await self._launch.keep_promise(known_of(row))
        return True

    async def _say(self, known: Known, payload: Payload, now: datetime, *, id_: UUID | None = None) -> bool:
        outcome = await self._appender.append(known.request(payload, now, id_=id_))
        if not isinstance(outcome, Appended | Duplicate):
            return False
        reason = payload.reason.value if isinstance(payload, ScheduleSkipped) else "fired"
        self._said.labels(reason).inc()
        return True

    def _set_alarm(self, due_in: timedelta) -> None:
        """Wake when the next one is due, if that is before we look again anyway."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        seconds = due_in.total_seconds()
        if seconds < self._settings.schedule_poll_seconds:
            self._alarm = asyncio.get_running_loop().call_later(seconds, self.wake.set)
