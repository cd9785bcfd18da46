"""Starting jobs: what is checked, and what their first event says."""

import json
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from events.database import Pool, load_queries
from events.envelope import encode_json, event_of, stream_name
from events.errors import Conflict, FieldError, InvalidInput, NotFound
from events.ids import derived_id
from events.jobs import JobCreated, JobEvent, JobStatus, Parent
from events.log.append import Appended, Appender, AppendRequest, Expected
from events.telemetry import current_traceparent
from processor.language.expressions import Expression, ExpressionError, as_text
from processor.language.inputs import check_inputs
from processor.queue import Postbox
from processor.quota import JobQuota
from processor.workflows.commands import ChildEnded
from processor.workflows.library import Edition, Library
from processor.workflows.plan import Plan
from processor.workflows.state import JobState, Key
from processor.workflows.stream import SOURCE

# Every subscriber gets a job's first event.
LARGEST_INPUT = 256 * 1024  # bytes
# Workflows that start each other would never end.
DEEPEST = 20
UNWANTED = "The job that waits for it was stopped."  # why a child is cancelled


class Starter:
    def __init__(self, pool: Pool, appender: Appender, library: Library, postbox: Postbox, quota: JobQuota) -> None:
        self._pool = pool
        self._appender = appender
        self._library = library
        self._postbox = postbox
        self._quota = quota
        self._queries = load_queries("processor", "workflows/queries.sql")

    async def start(
        self, tenant: str, id_: UUID, created: JobCreated, *, event_id: UUID, end: JobEvent | None = None
    ) -> bool:
        """False if the job was started before. With an end, that is all of its life."""
        stream = stream_name("job", id_)
        events = tuple(
            event_of(
                said, id=id_of_event, stream=stream, tenant=tenant, source=SOURCE, traceparent=current_traceparent()
            )
            for id_of_event, said in ((event_id, created), (derived_id(event_id, "end"), end))
            if said is not None
        )
        outcome = await self._appender.append(AppendRequest(tenant, stream, events, Expected.NONE))
        return isinstance(outcome, Appended)

    async def started(self, tenant: str, jobs: Collection[UUID]) -> set[UUID]:
        """Those of them that there are."""
        return {row["id"] for row in await self._pool.fetch(self._queries["there_are"], tenant, jobs)}

    async def is_awaited(self, tenant: str, id_: UUID, parent: Parent) -> bool:
        """Whether the step still waits for this job: whoever started it may have been too late."""
        arguments = (tenant, parent.job_id, parent.step, -1 if parent.item is None else parent.item, id_)
        awaited: bool = await self._pool.fetchval(self._queries["is_awaited"], *arguments)
        return awaited

    async def start_child(self, state: JobState, key: Key, child: UUID, parameters: Any) -> ChildEnded | None:
        """Start what a step waits for, unless it was started before. Not None if it cannot be started."""
        action = state.plan.action(key[0])
        tenant = state.tenant
        try:
            edition = await self._library.startable(tenant, action.uses, action.version)
            depth = 1 if state.created.parent is None else state.created.parent.depth + 1
            if depth > DEEPEST:
                raise Conflict(f"Jobs of jobs may be {DEEPEST} deep.")
            given, wrong = check_inputs(edition.plan.definition, parameters, ("with",))
            if wrong:
                raise InvalidInput(" ".join(f"{problem.place}: {problem.detail}" for problem in wrong[:5]))
            created = first_event(
                edition,
                given,
                priority=state.created.priority,
                parent=Parent(job_id=state.id, step=key[0], item=key[1], depth=depth),
            )
            await self._check_place(tenant, created, state.id)
        except (NotFound, Conflict, InvalidInput) as refused:
            error = {"code": refused.code, "detail": refused.detail}
            return ChildEnded(child, key, JobStatus.FAILED, error=error)
        async with self._quota.judging(tenant) as exceeded:
            if exceeded is None:
                await self.start(tenant, child, created, event_id=derived_id(child, "job.created"))
                return None
        if await self._pool.fetchrow(self._queries["how_it_ended"], tenant, child) is not None:
            return None  # it was started before, when there was room
        return ChildEnded(child, key, JobStatus.FAILED, error=exceeded.model_dump())

    async def _check_place(self, tenant: str, created: JobCreated, parent: UUID) -> None:
        """A job that waits for a place which its ancestors keep would wait for ever, and they for it. So would several
        families of such jobs for each other: it does not matter how many places there are."""
        if created.workflow_limit is None and created.key_limit is None:
            return
        key = created.key if created.workflow_limit is None else None
        if await self._pool.fetchval(self._queries["has_ancestor"], tenant, parent, created.workflow, key):
            raise Conflict(
                f"A job of {created.workflow} already waits for this one, and its workflow says how many there may "
                "be at once: they could wait for each other for ever."
            )

    async def end_child(self, state: JobState, key: Key, child: UUID) -> ChildEnded | None:
        """Cancel what a step waits for. Not None if it has ended already, or never began."""
        if await self._postbox.post(derived_id(child, "end"), state.tenant, child, "cancel", {"reason": UNWANTED}):
            return None
        row = await self._pool.fetchrow(self._queries["how_it_ended"], state.tenant, child)
        if row is None:
            return ChildEnded(child, key, JobStatus.CANCELLED)
        result, error = json.loads(row["result"] or "null"), json.loads(row["error"] or "{}")
        return ChildEnded(child, key, JobStatus(row["status"]), result, error)


def first_event(
    edition: Edition,
    given: Mapping[str, Any],
    *,
    priority: int = 0,
    start_at: datetime | None = None,
    unique: str | None = None,
    parent: Parent | None = None,
    retry_of: UUID | None = None,
    schedule: UUID | None = None,
    fired_for: datetime | None = None,
) -> JobCreated:
    """What a job's first event says: its input as it was given, and all that its workflow says of its place in the
    queue."""
    plan = edition.plan
    concurrency = plan.definition.concurrency
    defaults = {name: schema["default"] for name, schema in plan.definition.inputs.items() if "default" in schema}
    given = defaults | dict(given)
    if len(encode_json(given)) > LARGEST_INPUT:
        detail = f"A job's input may have {LARGEST_INPUT} bytes; more belongs in an upload."
        raise InvalidInput(detail, errors=[FieldError("body.input", "too_large", detail)])
    return JobCreated(
        status=JobStatus.PENDING,
        progress_percent=0,
        current_step=None,
        step_message=None,
        workflow=edition.name,
        version=edition.version,
        input=given,
        handlers=dict(plan.handlers),
        priority=priority,
        start_at=start_at,
        key=_key(plan, given),
        workflow_limit=None if concurrency is None else concurrency.limit,
        key_limit=None if concurrency is None or concurrency.key is None else concurrency.limit_per_key,
        unique=unique,
        computes=plan.needs_process,
        parent=parent,
        retry_of=retry_of,
        schedule=schedule,
        fired_for=fired_for,
    )


def _key(plan: Plan, given: Mapping[str, Any]) -> str | None:
    concurrency = plan.definition.concurrency
    if concurrency is None or concurrency.key is None:
        return None
    try:
        return as_text(Expression.parse(concurrency.key).evaluate({"inputs": given}))[:200]
    except ExpressionError as wrong:
        detail = f"The workflow's concurrency key cannot be found: {wrong.detail}"
        raise InvalidInput(detail, errors=[FieldError("body.input", "no_concurrency_key", detail)]) from None
