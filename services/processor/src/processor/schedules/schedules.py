"""What people do with schedules: make and change them, hold them on and off, look at them."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from events.catalog import Payload
from events.database import Pool, load_queries
from events.errors import Conflict, IdempotencyKeyReused, NotFound
from events.ids import new_id
from events.log.append import Appended, Appender, Expected
from events.schedules import (
    ScheduleChanged,
    ScheduleCreated,
    ScheduleDeleted,
    SchedulePaused,
    ScheduleResumed,
)
from processor.schedules.clock import Clock
from processor.schedules.launch import Launch
from processor.schedules.schedule import Known, Schedule, known_of, said_of
from processor.schedules.terms import OF_TIMING, Wanted, check_input, checked_timing, same, terms_as
from processor.schedules.timing import Timing
from processor.settings import ProcessorSettings
from processor.workflows.control import Said
from processor.workflows.library import Library

_TRIES = 5


class Schedules:
    def __init__(
        self,
        pool: Pool,
        settings: ProcessorSettings,
        appender: Appender,
        library: Library,
        launch: Launch,
        clock: Clock,
        *,
        announce: Callable[[], None],
    ) -> None:
        self._pool = pool
        self._settings = settings
        self._appender = appender
        self._library = library
        self._launch = launch
        self._clock = clock
        self._announce = announce
        self._turn = asyncio.Lock()
        self._queries = load_queries("processor", "schedules/queries.sql")

    async def create(self, tenant: str, wanted: Wanted, said: Said) -> Schedule:
        event_id = said.event_id("schedule")
        if said.idempotency_key is not None and (first := await self._repeated(tenant, wanted, event_id)) is not None:
            return first
        now = await self._clock()
        timing = checked_timing(wanted, now, smallest_seconds=self._settings.schedule_smallest_seconds)
        await self._check_workflow(tenant, wanted)
        created = terms_as(ScheduleCreated, wanted, anchor_at=now, next_at=timing.next_after(now), by=said.by)
        id_ = new_id()
        request = said_of(tenant, id_, created, now, expected=Expected.NONE, id_=event_id)
        most = self._settings.schedules_per_tenant
        # One connection is enough to wait on.
        async with self._turn, self._pool.acquire() as connection, connection.transaction():
            await connection.execute(self._queries["take_turn"], tenant)
            if await connection.fetchval(self._queries["count"], tenant) >= most:
                raise Conflict(f"Your tenant may have {most} schedules. Delete one first.")
            outcome = await self._appender.append(request)
        if not isinstance(outcome, Appended):
            first = await self._repeated(tenant, wanted, event_id)
            assert first is not None, "the id is known, so its event is"
            return first
        self._announce()
        return await self.one(tenant, id_)

    async def replace(self, tenant: str, id_: UUID, wanted: Wanted, by: str) -> Schedule:
        """Other terms from now on. An interval goes on counting from where it did, unless it is another one."""
        await self._known(tenant, id_)
        await self._check_workflow(tenant, wanted)

        def changed(known: Known, now: datetime) -> Payload | None:
            timing = checked_timing(wanted, now, smallest_seconds=self._settings.schedule_smallest_seconds)
            next_at = _next_from(timing, known, now) if known.view.paused_at is None else None
            terms = terms_as(ScheduleChanged, wanted, anchor_at=now, next_at=next_at, by=by)
            former = known.terms
            if same(terms, former):
                return None
            if same(terms, former, OF_TIMING):
                return terms.model_copy(update={"anchor_at": former.anchor_at, "next_at": former.next_at})
            return terms

        await self._say(tenant, id_, changed)
        return await self.one(tenant, id_)

    async def pause(self, tenant: str, id_: UUID, by: str) -> Schedule:
        await self._say(tenant, id_, lambda known, _: SchedulePaused(by=by) if known.view.paused_at is None else None)
        return await self.one(tenant, id_)

    async def resume(self, tenant: str, id_: UUID, by: str) -> Schedule:
        """What would have been in the meantime was not wanted, and is not made up for."""

        def resumed(known: Known, now: datetime) -> Payload | None:
            if known.view.paused_at is None:
                return None
            return ScheduleResumed(next_at=_next_from(known.timing, known, now), by=by)

        await self._say(tenant, id_, resumed)
        return await self.one(tenant, id_)

    async def delete(self, tenant: str, id_: UUID, by: str) -> None:
        """Its jobs stay."""
        await self._say(tenant, id_, lambda _, __: ScheduleDeleted(by=by))

    async def one(self, tenant: str, id_: UUID) -> Schedule:
        return (await self._known(tenant, id_)).view

    async def page(self, tenant: str, *, workflow: str | None, before: UUID | None, limit: int) -> list[Schedule]:
        """The newest first, those older than `before`."""
        rows = await self._pool.fetch(self._queries["schedules"], tenant, before, limit, workflow)
        return [known_of(row).view for row in rows]

    async def _known(self, tenant: str, id_: UUID) -> Known:
        row = await self._pool.fetchrow(self._queries["schedule"], tenant, id_)
        if row is None:
            raise NotFound("There is no such schedule.")
        return known_of(row)

    async def _say(self, tenant: str, id_: UUID, decide: Callable[[Known, datetime], Payload | None]) -> None:
        for _ in range(_TRIES):
            known = await self._known(tenant, id_)
            await self._launch.keep_promise(known)
            now = await self._clock()
            payload = decide(known, now)
            if payload is None:
                return
            if isinstance(await self._appender.append(known.request(payload, now)), Appended):
                self._announce()
                return
        raise Conflict("This schedule is changed by others all the time. Look at it, and try again.")

    async def _check_workflow(self, tenant: str, wanted: Wanted) -> None:
        edition = await self._library.asked_for(tenant, wanted.workflow, wanted.version)
        check_input(wanted, edition)

    async def _repeated(self, tenant: str, wanted: Wanted, event_id: UUID) -> Schedule | None:
        """The schedule that was made under the same key, if it is the same that was wanted."""
        row = await self._pool.fetchrow(self._queries["created_by_event"], tenant, event_id)
        if row is None:
            return None
        first = ScheduleCreated.model_validate_json(row["data"])
        again = terms_as(ScheduleCreated, wanted, anchor_at=first.anchor_at, next_at=first.next_at, by=first.by)
        if not same(first, again):
            raise IdempotencyKeyReused
        try:
            return await self.one(tenant, UUID(row["stream"].removeprefix("schedule:")))
        except NotFound:
            raise Conflict("The schedule that was made under this key is deleted.") from None


def _next_from(timing: Timing, known: Known, now: datetime) -> datetime | None:
    """Never again what it has fired for, even if the clock was put back."""
    last_at = known.view.last_at
    return timing.next_after(now if last_at is None else max(now, last_at))
