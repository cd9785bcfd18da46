"""What the edge says becomes part of the log: record, ack, and only then work."""

from collections.abc import Callable

import msgspec
from pydantic import ValidationError

from events import accounts
from events.append import Appended, Appender, AppendRequest, Duplicate, Expected
from events.broker import Message
from events.catalog import P
from events.envelope import Event, check_stream, decode_event, new_event, stream_name
from events.errors import Conflict, InvalidInput
from events.ids import derived_id
from events.jobs import JobError
from events.uploads import UploadCompleted
from processor.quota import JobQuota
from processor.workflows.engine import Create, Fail, decide, evolve
from processor.workflows.stream import SOURCE


class Intake:
    def __init__(self, appender: Appender, quota: JobQuota, *, announce_work: Callable[[], None]) -> None:
        self._appender = appender
        self._quota = quota
        self._announce_work = announce_work

    async def handle(self, message: Message) -> None:
        """Append the event, and what follows from it, in one statement. A message that comes again changes nothing:
        its event has the same id, and so has everything derived from it."""
        event = _decoded(message.body)
        async with self._quota.judging(event.tenant) as exceeded:
            requests = (AppendRequest(event.tenant, event.subject, (event,)), *_consequences(event, exceeded))
            outcomes = await self._appender.append_all(requests)
        if isinstance(outcomes[0], Duplicate):
            return  # what follows from it was committed with it, perhaps by a version of us that worded it otherwise
        if not all(isinstance(outcome, Appended) for outcome in outcomes):
            raise Conflict(f"The event {event.id} contradicts what the log holds: {outcomes}.")
        self._announce_work()


def _decoded(body: bytes) -> Event:
    try:
        event = decode_event(body)
    except (msgspec.MsgspecError, ValueError) as wrong:
        raise InvalidInput(f"The message is not an event: {wrong}.") from None
    check_stream(event.subject)
    return event


def _consequences(event: Event, exceeded: JobError | None) -> tuple[AppendRequest, ...]:
    match event.type:
        case UploadCompleted.event_type:
            return (_job_for(event, _upload(event), exceeded),)
        case kind if kind in accounts.FACTS:
            _checked(accounts.FACTS[kind], event)
            return ()
        case unknown:
            raise InvalidInput(f"The intake does not know the event type {unknown!r:.80}.")


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


def _job_for(event: Event, upload: UploadCompleted, exceeded: JobError | None) -> AppendRequest:
    """The job that was promised with the upload; failed at once if it exceeds a quota."""
    created = decide(None, Create(upload.workflow, upload.model_dump(mode="json", exclude={"workflow", "job_id"})))
    assert created is not None
    life = [created]
    if exceeded is not None:
        failed = decide(evolve(None, created), Fail(exceeded))
        assert failed is not None
        life.append(failed)
    stream = stream_name("job", upload.job_id)
    events = tuple(
        new_event(
            id=derived_id(event.id, said.event_type),
            type=said.event_type,
            stream=stream,
            tenant=event.tenant,
            source=SOURCE,
            data=said.encode(),
            traceparent=event.traceparent,
        )
        for said in life
    )
    return AppendRequest(event.tenant, stream, events, Expected.NONE)
