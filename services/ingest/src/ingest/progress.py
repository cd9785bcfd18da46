"""How far an upload on its way is, for whoever follows its stream."""

import asyncio
from uuid import UUID

from events.envelope import event_of, stream_name
from events.outbox import Outbox
from events.telemetry import current_traceparent
from events.uploads import UploadProgressed

_SECONDS = 1.0


class Progress:
    """Told at most once a second, and when there is more than before. One that takes less time goes untold."""

    def __init__(self, outbox: Outbox, tenant: str, upload: UUID, length: int | None) -> None:
        self._outbox = outbox
        self._tenant = tenant
        self._upload = upload
        self._length = length
        self._clock = asyncio.get_running_loop().time
        self._told_at = self._clock()
        self._told = 0

    def reached(self, count: int) -> None:
        now = self._clock()
        if now - self._told_at < _SECONDS or count <= self._told or count == self._length:
            return  # all of it is told by its completion
        self._told_at, self._told = now, count
        percent = None if self._length is None else 100 * count // self._length
        self._outbox.publish_soon(
            event_of(
                UploadProgressed(upload_id=self._upload, bytes=count, length=self._length, percent=percent),
                stream=stream_name("upload", self._upload),
                tenant=self._tenant,
                source="/millrace/ingest",
                traceparent=current_traceparent(),
            )
        )
