"""How far an upload on its way is, for whoever follows its stream."""

import asyncio
from collections import OrderedDict
from uuid import UUID

from events.delivery.outbox import Outbox
from events.envelope import event_of, stream_name
from events.telemetry import current_traceparent
from events.uploads import UploadProgressed
from ingest.files.file import File

_SECONDS = 1.0
_MOST_FILES = 1_000


class Progress:
    """Told at most once a second, and when there is more than before. One that takes less time goes untold: the
    completion tells of all of it. A part has none, so its end is told here."""

    def __init__(self, outbox: Outbox, tenant: str, upload: UUID, length: int | None, *, is_part: bool = False) -> None:
        self._outbox = outbox
        self._tenant = tenant
        self._upload = upload
        self._is_part = is_part
        self._clock = asyncio.get_running_loop().time
        self._told_at = self._clock()
        self._told = 0
        self.length = length

    def reached(self, count: int) -> None:
        if count <= self._told:
            return
        at_end, now = count == self.length, self._clock()
        if (at_end and not self._is_part) or (not at_end and now - self._told_at < _SECONDS):
            return
        self._told_at, self._told = now, count
        percent = None if self.length is None else 100 * count // self.length
        self._outbox.publish_soon(
            event_of(
                UploadProgressed(upload_id=self._upload, bytes=count, length=self.length, percent=percent),
                stream=stream_name("upload", self._upload),
                tenant=self._tenant,
                source="/millrace/ingest",
                traceparent=current_traceparent(),
            )
        )


class ProgressOfFiles:
    """Of files whose bytes come in many requests, each of which may take less than a second."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._kept: OrderedDict[UUID, Progress] = OrderedDict()

    def of(self, file: File) -> Progress:
        progress = self._kept.get(file.id)
        if progress is None:
            progress = Progress(self._outbox, file.tenant, file.id, file.length, is_part=file.is_part)
            self._kept[file.id] = progress
        progress.length = file.length
        self._kept.move_to_end(file.id)
        if len(self._kept) > _MOST_FILES:
            self._kept.popitem(last=False)
        return progress
