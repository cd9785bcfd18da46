"""What the edge says becomes part of the log: record, ack, and only then work."""

import asyncio

import msgspec
from pydantic import ValidationError

from events.append import Appender, AppendRequest, Expected, IdReused, VersionConflict
from events.broker import Message
from events.envelope import Event, decode_event, new_event, stream_name
from events.errors import InvalidInput
from events.ids import derived_id
from events.jobs import JobCreated
from events.uploads import UploadCompleted
from processor.workflows.engine import Create, decide

SOURCE = "/millrace/processor"


class Intake:
    def __init__(self, appender: Appender, work_waits: asyncio.Event) -> None:
        self._appender = appender
        self._work_waits = work_waits

    async def handle(self, message: Message) -> None:
        """Append the event, and what follows from it, in one statement. A message that comes again changes nothing:
        its event has the same id, and so has everything derived from it."""
        try:
            event = decode_event(message.body)
            requests = [AppendRequest(event.tenant, event.subject, (event,)), *_consequences(event)]
        except (msgspec.MsgspecError, ValidationError, ValueError) as wrong:
            raise InvalidInput(f"The message is not an event that the intake knows: {wrong}") from None
        outcomes = await self._appender.append_all(requests)
        for outcome in outcomes:
            if isinstance(outcome, IdReused | VersionConflict):
                raise InvalidInput(f"The event contradicts what the log holds: {outcome}")
        self._work_waits.set()


def _consequences(event: Event) -> list[AppendRequest]:
    match event.type:
        case UploadCompleted.event_type:
            return [_job_for(event, UploadCompleted.model_validate_json(bytes(event.data)))]
        case unknown:
            raise InvalidInput(f"There is no event type {unknown!r:.80}.")


def _job_for(event: Event, upload: UploadCompleted) -> AppendRequest:
    """The job that was promised with the upload."""
    created = decide(None, Create(upload.workflow, upload.model_dump(mode="json", exclude={"workflow", "job_id"})))
    assert isinstance(created, JobCreated)
    stream = stream_name("job", upload.job_id)
    first = new_event(
        id=derived_id(event.id, JobCreated.event_type),
        type=JobCreated.event_type,
        stream=stream,
        tenant=event.tenant,
        source=SOURCE,
        time=event.time,
        data=created.encode(),
        traceparent=event.traceparent,
    )
    return AppendRequest(event.tenant, stream, (first,), Expected.NONE)
