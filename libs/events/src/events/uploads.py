"""What is said of uploads. Streams are `upload:<id>`."""

from typing import Any, Literal
from uuid import UUID

from events.catalog import Payload, event


@event("upload.completed")
class UploadCompleted(Payload):
    """All bytes are in the blob store, and their hash is known."""

    upload_id: UUID
    job_id: UUID  # the job that was promised to the client with the upload's 202
    workflow: str
    options: dict[str, Any]
    filename: str | None
    content_type: str | None
    bytes: int
    sha256: str  # lower-case hex
    blob: str  # key in the blob store


@event("upload.progressed", conflatable=True)
class UploadProgressed(Payload):
    """Bytes are on their way. Said once in a while, and never after `upload.completed`; it may be lost."""

    upload_id: UUID
    bytes: int  # that have come, or are stored where an upload can be resumed
    length: int | None  # that it will have; None if nobody has said it
    percent: int | None


@event("upload.expired")
class UploadExpired(Payload):
    """Its time is over: nobody can start a job on it any more. Its bytes stay until the jobs that use it have ended."""

    upload_id: UUID


@event("upload.deleted")
class UploadDeleted(Payload):
    """Nobody can read its bytes any more. What jobs have found in them stays."""

    upload_id: UUID
    because: Literal["asked", "expired"]
