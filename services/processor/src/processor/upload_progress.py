"""What is said of uploads on their way. It comes late, twice or out of order as it likes, and is dropped then: the
stream tells of an upload that grows, and ends with its completion."""

from events.envelope import Event
from events.errors import InvalidInput
from events.log.append import Appender, AppendRequest
from events.log.log import EventLog
from events.uploads import UploadCompleted, UploadProgressed


class UploadProgress:
    def __init__(self, appender: Appender, log: EventLog) -> None:
        self._appender = appender
        self._log = log

    async def hear(self, event: Event, said: UploadProgressed) -> None:
        if event.subject != f"upload:{said.upload_id}":
            raise InvalidInput(f"The event {event.id} of {said.upload_id} is in the stream {event.subject}.")
        version = await self._log.stream_version(event.tenant, event.subject) or 0
        if await self._is_news(event, said, version):
            # Exactly behind what we have seen: if more has come meanwhile, this is late.
            await self._appender.append(AppendRequest(event.tenant, event.subject, (event,), version))

    async def _is_news(self, event: Event, said: UploadProgressed, version: int) -> bool:
        for last in await self._log.read_stream(event.tenant, event.subject, version - 1, 1):
            if last.type == UploadCompleted.event_type:
                return False
            return UploadProgressed.model_validate_json(bytes(last.data)).bytes < said.bytes
        return True
