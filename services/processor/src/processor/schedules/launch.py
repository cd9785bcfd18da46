"""Starts what a schedule has fired for.

That it has fired is one event, and the job's first event another, in another stream. Between them lies a promise: the
row's `starting`. Whoever comes next keeps it, before anything else is said of the schedule. The job's id, and its first
event's, follow from the schedule and the time that was fired for, so it does not matter how many do.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

from events.database import Pool, load_queries
from events.errors import InvalidInput
from events.ids import derived_id
from events.jobs import JobCreated, JobError, JobFailed, JobStatus
from events.schedules import Overlap, SkipReason
from processor.language.inputs import check_inputs
from processor.queue import Postbox
from processor.schedules.schedule import Known
from processor.workflows.library import NOTHING, Edition, Library
from processor.workflows.start import Starter, first_event

_ONE_AT_A_TIME = (Overlap.QUEUE, Overlap.CANCEL)


class Launch:
    def __init__(
        self,
        pool: Pool,
        library: Library,
        starter: Starter,
        postbox: Postbox,
        *,
        announce_work: Callable[[], None],
        announce_mail: Callable[[], None],
    ) -> None:
        self._pool = pool
        self._library = library
        self._starter = starter
        self._postbox = postbox
        self._announce_work = announce_work
        self._announce_mail = announce_mail
        self._queries = load_queries("processor", "schedules/queries.sql")

    async def keep_promise(self, known: Known) -> None:
        """Start its last job, unless that was done."""
        job_id, at, version = known.starting, known.view.last_at, known.last_version
        if job_id is None or at is None or version is None:
            return
        if known.view.overlap is Overlap.CANCEL:
            await self._cancel_former(known, job_id)
        # A built-in workflow may have another version by now: then the job's worker says that there is none.
        edition = await self._library.edition(known.tenant, known.view.workflow, version)
        nothing = Edition(known.view.workflow, version, NOTHING)
        end = None
        try:
            created = job_of(known, edition or nothing, job_id, at)
        except InvalidInput as wrong:  # it was taken when it was promised: we have become stricter
            created = job_of(known, nothing, job_id, at)
            end = _failed(wrong)
        event_id = derived_id(job_id, created.event_type)
        await self._starter.start(known.tenant, job_id, created, event_id=event_id, end=end)
        self._announce_work()

    async def _cancel_former(self, known: Known, job_id: UUID) -> None:
        rows = await self._pool.fetch(self._queries["former"], known.tenant, known.id, job_id)
        for row in rows:
            said = {"by": f"schedule:{known.id}", "reason": "Its schedule has fired again."}
            await self._postbox.post(derived_id(job_id, f"cancel {row['id']}"), known.tenant, row["id"], "cancel", said)
        if rows:
            self._announce_mail()


def job_of(known: Known, edition: Edition, job_id: UUID, at: datetime) -> JobCreated:
    """What its job's first event says. InvalidInput if the workflow does not take its input."""
    given = known.input
    if edition.plan is not NOTHING:
        given, wrong = check_inputs(edition.plan.definition, given)
        if wrong:
            raise InvalidInput("; ".join(f"{one.place}: {one.detail}" for one in wrong[:5]))
    view = known.view
    jitter = _share_of(job_id) * view.jitter_seconds
    start_at = at + timedelta(seconds=jitter) if jitter else None
    created = first_event(edition, given, priority=view.priority, start_at=start_at, schedule=known.id, fired_for=at)
    if view.overlap in _ONE_AT_A_TIME:
        # All of them are given the same, so a key that the workflow itself has is the same for all of them too.
        key = created.key or f"schedule:{known.id}"
        return created.model_copy(update={"key": key, "key_limit": 1})
    return created


def _failed(wrong: InvalidInput) -> JobFailed:
    return JobFailed(
        status=JobStatus.FAILED,
        progress_percent=0,
        current_step=None,
        step_message=wrong.detail,
        error=JobError(code=SkipReason.INVALID_INPUT.value, detail=wrong.detail),
    )


def _share_of(job_id: UUID) -> float:
    """A number from 0 to 1, the same whoever asks."""
    return (job_id.int & 0xFFFFFFFF) / (1 << 32)
