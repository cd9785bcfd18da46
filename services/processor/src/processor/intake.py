"""What the edge says becomes part of the log: record, ack, and only then work."""

from collections.abc import Callable

import msgspec
from pydantic import ValidationError

from events import accounts
from events.broker.broker import Message
from events.catalog import P
from events.envelope import Event, check_stream, decode_event, event_of, stream_name, utc_now
from events.errors import Conflict, InvalidInput
from events.ids import derived_id
from events.jobs import JobError, JobEvent, JobFailed, JobStatus
from events.log.append import Appended, Appender, AppendRequest, Duplicate, Expected
from events.metrics.metrics import LONG_SECONDS, Metrics, exemplar
from events.steps import SAID
from events.telemetry import current_traceparent
from events.uploads import UploadCompleted, UploadProgressed
from processor.quota import JobQuota
from processor.remote.reports import RemoteReports
from processor.upload_ends import ENDS, UploadEnds
from processor.upload_progress import UploadProgress
from processor.workflows.library import NOTHING, Edition, Library
from processor.workflows.start import first_event
from processor.workflows.stream import SOURCE


class Intake:
    def __init__(
        self,
        appender: Appender,
        library: Library,
        quota: JobQuota,
        remote: RemoteReports,
        progress: UploadProgress,
        upload_ends: UploadEnds,
        metrics: Metrics,
        *,
        announce_work: Callable[[], None],
    ) -> None:
        self._appender = appender
        self._library = library
        self._quota = quota
        self._remote = remote
        self._progress = progress
        self._upload_ends = upload_ends
        self._announce_work = announce_work
        self._ages = metrics.histogram(
            "millrace_intake_event_age_seconds",
            "How old an event of the edge was when it was taken in.",
            buckets=LONG_SECONDS,
        )

    async def handle(self, message: Message) -> None:
        """Append the event, and what follows from it, in one statement. A message that comes again changes nothing:
        its event has the same id, and so has everything derived from it."""
        event = _decoded(message.body)
        self._ages.observe(max(0.0, (utc_now() - event.time).total_seconds()), exemplar())
        if event.type in SAID:
            await self._remote.hear(event, _checked(SAID[event.type], event))
            return
        if event.type == UploadProgressed.event_type:
            await self._progress.hear(event, _checked(UploadProgressed, event))
            return
        if event.type in ENDS:
            await self._upload_ends.hear(event, _checked(ENDS[event.type], event))
            return
        async with self._quota.judging(event.tenant) as exceeded:
            follows = await self._consequences(event, exceeded)
            outcomes = await self._appender.append_all((AppendRequest(event.tenant, event.subject, (event,)), *follows))
        if isinstance(outcomes[0], Duplicate):
            return  # what follows from it was committed with it, perhaps by a version of us that worded it otherwise
        if not all(isinstance(outcome, Appended) for outcome in outcomes):
            raise Conflict(f"The event {event.id} contradicts what the log holds: {outcomes}.")
        self._announce_work()

    async def _consequences(self, event: Event, exceeded: JobError | None) -> tuple[AppendRequest, ...]:
        match event.type:
            case UploadCompleted.event_type:
                upload = _upload(event)
                edition = await self._library.newest(event.tenant, upload.workflow)
                return (_job_for(event, upload, edition, exceeded),)
            case kind if kind in accounts.FACTS:
                _checked(accounts.FACTS[kind], event)
                return ()
            case unknown:
                raise InvalidInput(f"The intake does not know the event type {unknown!r:.80}.")


def _decoded(body: bytes) -> Event:
    try:
        event = decode_event(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as wrong:
        raise InvalidInput(f"The message is not an event: {wrong}.") from None
    check_stream(event.subject)
    return event


def _checked(payload: type[P], event: Event) -> P:
    try:
        return payload.model_validate_json(bytes(event.data))
    except ValidationError as wrong:
        raise InvalidInput(f"The event {event.id} does not say what {event.type} must: {wrong}.") from None


def _upload(event: Event) -> UploadCompleted:
    upload = _checked(UploadCompleted, event)
    if event.subject != stream_name("upload", upload.upload_id):
        raise InvalidInput(f"The event {event.id} of the upload {upload.upload_id} is in the stream {event.subject}.")
    return upload


def _job_for(
    event: Event, upload: UploadCompleted, edition: Edition | None, exceeded: JobError | None
) -> AppendRequest:
    """The job that was promised with the upload; failed at once if it exceeds a quota."""
    given = upload.model_dump(mode="json", exclude={"workflow", "job_id"})
    unknown = Edition(upload.workflow, 1, NOTHING)  # its worker says so
    created = first_event(edition or unknown, given)
    life: list[JobEvent] = [created]
    if exceeded is not None:
        life.append(
            JobFailed(
                status=JobStatus.FAILED,
                progress_percent=0,
                current_step=None,
                step_message=exceeded.detail,
                error=exceeded,
            )
        )
    stream = stream_name("job", upload.job_id)
    events = tuple(
        event_of(
            said,
            id=derived_id(event.id, said.event_type),
            stream=stream,
            tenant=event.tenant,
            source=SOURCE,
            traceparent=current_traceparent(),
        )
        for said in life
    )
    return AppendRequest(event.tenant, stream, events, Expected.NONE)
