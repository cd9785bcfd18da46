"""What people do with jobs: start them, and say something to those that are under way."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from events.database import Pool, load_queries
from events.envelope import encode_json, stream_name
from events.errors import (
    Conflict,
    FieldError,
    Gone,
    IdempotencyKeyReused,
    InvalidInput,
    NotFound,
    QuotaExceeded,
)
from events.ids import derived_id, new_id
from events.jobs import JobCreated, JobStatus, SubStatus
from events.log.log import EventLog
from processor.language.inputs import check_inputs
from processor.queue import Postbox
from processor.quota import JobQuota
from processor.results import INLINE_BYTES
from processor.uploads import ToldUploads
from processor.workflows.jobs import Filter, Job, Jobs
from processor.workflows.library import Edition, Library
from processor.workflows.signals import check_signal
from processor.workflows.start import Starter, first_event
from processor.workflows.stream import heard_id

RETRYABLE = (JobStatus.FAILED, JobStatus.CANCELLED)
_QUOTA_SECONDS = 60  # until another try may be worth it
_TRIES = 3  # to start a job under a unique name that others have just begun or ended a job under
_KEYS = UUID("00000000-0000-7000-8000-6a6f62732121")  # what the ids of keyed requests are derived from


@dataclass(frozen=True, slots=True)
class Wish:
    """A job that somebody wants."""

    workflow: str
    version: int | None = None
    input: dict[str, Any] | None = None
    upload_id: UUID | None = None
    priority: int = 0
    start_at: datetime | None = None
    unique: str | None = None
    named_in: str = "body.workflow"  # where the request has the workflow's name


@dataclass(frozen=True, slots=True)
class Said:
    """By whom something is said to a job, and under which key."""

    by: str
    idempotency_key: str | None = None

    def event_id(self, what: str) -> UUID:
        """The same for the same key: whoever repeats himself is recognised by it."""
        return new_id() if self.idempotency_key is None else derived_id(_KEYS, f"{what}:{self.idempotency_key}")


class Control:
    def __init__(
        self,
        pool: Pool,
        starter: Starter,
        library: Library,
        jobs: Jobs,
        postbox: Postbox,
        quota: JobQuota,
        *,
        announce: Callable[[], None],
    ) -> None:
        self._pool = pool
        self._starter = starter
        self._library = library
        self._jobs = jobs
        self._log = EventLog(pool)
        self._uploads = ToldUploads(pool)
        self._postbox = postbox
        self._quota = quota
        self._announce = announce
        self._queries = load_queries("processor", "workflows/queries.sql")

    async def start(self, tenant: str, wish: Wish, said: Said) -> tuple[Job, bool]:
        """The job, and whether it is a new one: an unfinished one with the same unique name is given instead."""
        event_id = said.event_id("start")
        known = None if said.idempotency_key is None else await self._known(tenant, event_id)
        if known is None:
            edition = await self._library.asked_for(tenant, wish.workflow, wish.version, field=wish.named_in)
        else:  # it is judged by what held then
            _, first = known
            found = await self._library.edition(tenant, first.workflow, first.version)
            if found is None or wish.workflow != found.name or wish.version not in (None, found.version):
                raise IdempotencyKeyReused
            edition = found
        created = first_event(
            edition,
            await self._input(tenant, edition, wish, again=known is not None),
            priority=wish.priority,
            start_at=wish.start_at,
            unique=wish.unique,
        )
        return await self._start(tenant, created, event_id)

    async def retry(self, tenant: str, job_id: UUID, said: Said) -> Job:
        """A new job that does again what this one has not finished."""
        former = await self._jobs.one(tenant, job_id)
        if former.status not in RETRYABLE:
            raise Conflict(f"Only a job that has failed or was cancelled can be retried; this one is {former.status}.")
        retries = await self._pool.fetchrow(self._queries["retries"], tenant, job_id)
        assert retries is not None
        # Without a key, those who ask at once mean the same retry.
        event_id = _retry_id(job_id, retries["so_far"])
        if said.idempotency_key is not None:
            event_id = said.event_id(f"retry:{job_id}")
        if retries["unfinished"] is not None and await self._known(tenant, event_id) is None:
            raise Conflict(f"The unfinished job {retries['unfinished']} retries this one already.")
        job, new = await self._start(tenant, await self._again(tenant, job_id), event_id)
        if not new:
            raise Conflict(f"The unfinished job {job.id} has the unique name of this one.")
        return job

    async def retry_all(self, tenant: str, wanted: Filter, limit: int) -> list[Job]:
        """The same for all that match. One that was retried is left alone, and one that another job has waited for."""
        named = (wanted.status, wanted.workflow, wanted.created_after, wanted.created_before)
        if all(one is None for one in named):
            detail = "Say which jobs: give at least one of status, workflow, created_after and created_before."
            raise InvalidInput(detail, errors=[FieldError("body", "missing", detail)])
        found = await self._pool.fetch(
            self._queries["retryable"],
            tenant,
            *named,
            limit,
        )
        retried: list[Job] = []
        for row in found:
            try:
                job, new = await self._start(tenant, await self._again(tenant, row["id"]), _retry_id(row["id"], 0))
            except QuotaExceeded:
                if not retried:  # else whoever asks again goes on from here
                    raise
                break
            if new:
                retried.append(job)
        return retried

    async def signal(self, tenant: str, job_id: UUID, name: str, data: Any, said: Said) -> Job:
        """What a step waits for, or will wait for."""
        job = await self._jobs.one(tenant, job_id)
        edition = None
        if job.workflow is not None and job.workflow_version is not None:
            edition = await self._library.edition(tenant, job.workflow, job.workflow_version)
        if edition is not None:
            maps = await self._pool.fetch(self._queries["map_sizes"], tenant, job_id)
            check_signal(edition.plan, {row["step"]: row["items"] for row in maps}, name, data)
        return await self.say(tenant, job_id, "signal", {"name": name, "data": data}, said)

    async def say(self, tenant: str, job_id: UUID, kind: str, data: dict[str, Any], said: Said) -> Job:
        """Something to a job that is not finished. Its holder does what follows from it."""
        if len(encode_json(data)) > INLINE_BYTES:  # it becomes an event, and every subscriber gets that
            detail = f"What is said to a job may have {INLINE_BYTES} bytes."
            raise InvalidInput(detail, errors=[FieldError("body", "too_large", detail)])
        job = await self._jobs.one(tenant, job_id)
        id_ = said.event_id(f"{kind}:{job_id}")
        in_vain = job.status.terminal or (kind == "cancel" and job.sub_status is SubStatus.COMPENSATING)
        posted = not in_vain and await self._postbox.post(id_, tenant, job_id, kind, {"by": said.by, **data})
        repeated = said.idempotency_key is not None and await self._repeats(tenant, id_, data)
        if not posted:
            job = await self._jobs.one(tenant, job_id)
            if not repeated:  # else it may be what its first copy has just brought about
                raise Conflict(_why_not(job))
        self._announce()
        return job

    async def _repeats(self, tenant: str, id_: UUID, data: dict[str, Any]) -> bool:
        """Whether this was said under its key. If it was something else, that counts, and this does not."""
        found = await self._pool.fetchval(self._queries["signalled"], tenant, id_, heard_id(id_))
        if found is None:
            return False
        first = msgspec.json.decode(found)
        if any(_as_json(first.get(name)) != _as_json(value) for name, value in data.items()):
            raise IdempotencyKeyReused
        return True

    async def _start(self, tenant: str, created: JobCreated, event_id: UUID) -> tuple[Job, bool]:
        for _ in range(_TRIES):
            # Asked first: a violation would undo what others append together with it.
            holder = await self._unfinished(tenant, created)
            if holder is not None and await self._known(tenant, event_id) is None:
                return await self._jobs.one(tenant, holder), False
            try:
                return await self._started(tenant, created, event_id), True
            except asyncpg.UniqueViolationError:
                if created.unique is None:
                    raise
        raise Conflict(f"Jobs with the unique name {created.unique} begin and end all the time. Try again in a moment.")

    async def _unfinished(self, tenant: str, created: JobCreated) -> UUID | None:
        """The job that has its unique name."""
        if created.unique is None:
            return None
        names = (tenant, created.workflow, created.unique)
        found: UUID | None = await self._pool.fetchval(self._queries["unfinished_unique"], *names)
        return found

    async def _started(self, tenant: str, created: JobCreated, event_id: UUID) -> Job:
        job_id = new_id()
        async with self._quota.judging(tenant) as exceeded:
            started = exceeded is None and await self._starter.start(tenant, job_id, created, event_id=event_id)
            known = None if started else await self._known(tenant, event_id)
        if known is not None:
            return await self._repeated(tenant, created, *known)
        if exceeded is not None:
            raise QuotaExceeded(exceeded.detail, policies=["jobs"], retry_after=_QUOTA_SECONDS)
        self._announce()
        return await self._jobs.one(tenant, job_id)

    async def _known(self, tenant: str, event_id: UUID) -> tuple[UUID, JobCreated] | None:
        """The job that this event has begun, and how."""
        row = await self._pool.fetchrow(self._queries["job_by_event"], tenant, event_id)
        if row is None:
            return None
        return UUID(row["stream"].removeprefix("job:")), JobCreated.model_validate_json(row["data"])

    async def _repeated(self, tenant: str, wanted: JobCreated, job_id: UUID, first: JobCreated) -> Job:
        """The job that was started under the same key, if it is the same that was wanted."""
        same = ("workflow", "input", "priority", "start_at", "unique", "retry_of")
        if any(getattr(first, name) != getattr(wanted, name) for name in same):
            raise IdempotencyKeyReused
        return await self._jobs.one(tenant, job_id)

    async def _again(self, tenant: str, job_id: UUID) -> JobCreated:
        (first,) = await self._log.read_stream(tenant, stream_name("job", job_id), 0, 1)
        created = JobCreated.model_validate_json(bytes(first.data))
        return created.model_copy(update={"retry_of": job_id, "start_at": None, "parent": None, "schedule": None})

    async def _input(self, tenant: str, edition: Edition, wish: Wish, *, again: bool) -> dict[str, Any]:
        given = dict(wish.input or {})
        definition = edition.plan.definition
        if wish.upload_id is not None:
            facts = await self._upload(tenant, wish.upload_id, again=again)
            given = {name: value for name, value in facts.items() if name in definition.inputs} | given
        inputs, wrong = check_inputs(definition, given, ("input",))
        if wrong:
            errors = [FieldError(f"body.{problem.place}", problem.code, problem.detail) for problem in wrong]
            raise InvalidInput("; ".join(error.detail for error in errors[:5]), errors=errors)
        return inputs

    async def _upload(self, tenant: str, upload_id: UUID, *, again: bool) -> dict[str, Any]:
        told = await self._uploads.one(tenant, upload_id)
        if told.facts is None:
            detail = "There is no such upload."
            raise NotFound(detail, errors=[FieldError("body.upload_id", "not_found", detail)])
        if (told.expired or told.deleted) and not again:
            raise Gone("This upload has expired, or was deleted. Send it anew.")
        return told.facts


def _retry_id(job_id: UUID, so_far: int) -> UUID:
    return derived_id(job_id, f"job.created by retry {so_far}")


def _as_json(value: Any) -> bytes:
    """For Python, true is 1."""
    return msgspec.json.encode(value, order="sorted")


def _why_not(job: Job) -> str:
    """Why nothing can be said to it."""
    if job.status.terminal:
        return f"The job is {job.status} already."
    if job.sub_status is SubStatus.COMPENSATING:
        return "What the job has done is being undone, and no cancel stops that."
    return "The job was promised, and has not come yet. Try again in a moment."
