"""Uploads expire, and are deleted. Ingest says so, and we let it become true when the jobs agree."""

from events.envelope import Event
from events.errors import Conflict, InvalidInput
from events.log.append import Appended, Appender, AppendRequest, Duplicate
from events.uploads import UploadDeleted, UploadExpired
from processor.uploads import ToldUpload, ToldUploads

ENDS: dict[str, type[UploadExpired] | type[UploadDeleted]] = {
    kind.event_type: kind for kind in (UploadExpired, UploadDeleted)
}


class UploadEnds:
    def __init__(self, appender: Appender, uploads: ToldUploads) -> None:
        self._appender = appender
        self._uploads = uploads

    async def hear(self, event: Event, said: UploadExpired | UploadDeleted) -> None:
        """What cannot be true yet is dropped: ingest says it again until the log holds it."""
        if event.subject != f"upload:{said.upload_id}":
            raise InvalidInput(f"The event {event.id} of {said.upload_id} is in the stream {event.subject}.")
        told = await self._uploads.one(event.tenant, said.upload_id)
        if told.facts is None or not await self._may_be(event, said, told):
            return
        outcome = await self._appender.append(AppendRequest(event.tenant, event.subject, (event,)))
        if not isinstance(outcome, Appended | Duplicate):
            raise Conflict(f"The event {event.id} contradicts what the log holds: {outcome}.")

    async def _may_be(self, event: Event, said: UploadExpired | UploadDeleted, told: ToldUpload) -> bool:
        if isinstance(said, UploadExpired) or said.because == "asked":
            return True
        # No job begins on one that has expired, so it stays unused once it is.
        return told.expired and not await self._uploads.is_used(event.tenant, said.upload_id)
