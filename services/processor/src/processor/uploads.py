"""What the log tells of an upload."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from events.database import Pool, load_queries
from events.envelope import stream_name
from events.log.log import EventLog
from events.uploads import UploadCompleted, UploadDeleted, UploadExpired

_LAST = 10  # events: fewer than these come behind its completion


@dataclass(frozen=True, slots=True)
class ToldUpload:
    facts: dict[str, Any] | None = None  # of its completion
    expired: bool = False
    deleted: bool = False


class ToldUploads:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._log = EventLog(pool)
        self._queries = load_queries("processor", "uploads.sql")

    async def one(self, tenant: str, id_: UUID) -> ToldUpload:
        stream = stream_name("upload", id_)
        version = await self._log.stream_version(tenant, stream) or 0
        events = await self._log.read_stream(tenant, stream, max(0, version - _LAST), _LAST + 1)
        said = {event.type: event for event in events}
        completed = said.get(UploadCompleted.event_type)
        return ToldUpload(
            None if completed is None else msgspec.json.decode(completed.data),
            UploadExpired.event_type in said,
            UploadDeleted.event_type in said,
        )

    async def is_used(self, tenant: str, id_: UUID) -> bool:
        """Whether a job that has not ended names it in its input, or its blob, which is called after it."""
        used: bool = await self._pool.fetchval(self._queries["is_used"], tenant, str(id_))
        return used
