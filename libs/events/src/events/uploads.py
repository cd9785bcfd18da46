"""What is said of uploads. Streams are `upload:<id>`."""

from typing import Any
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
