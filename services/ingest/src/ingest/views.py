"""What clients see of uploads."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from events.web.openapi import Page
from ingest.uploads import Upload


class Promise(msgspec.Struct, frozen=True):
    """The bytes are on disk, and the job will come."""

    upload_id: UUID
    job_id: UUID
    channel: str
    sha256: str
    bytes: int


class UploadView(msgspec.Struct, frozen=True):
    id: UUID
    job_id: UUID
    workflow: str
    options: dict[str, Any]
    filename: str | None
    content_type: str | None
    bytes: int
    sha256: str
    created_at: datetime


def promise_of(upload: Upload) -> Promise:
    return Promise(upload.id, upload.job_id, f"job:{upload.job_id}", upload.sha256, upload.bytes)


def view_of(upload: Upload) -> UploadView:
    return UploadView(**{name: getattr(upload, name) for name in UploadView.__struct_fields__})


UPLOAD = UploadView(
    id=UUID("01a1fbea-6e13-7d45-ac0a-768cee331159"),
    job_id=UUID("01a1fbea-6fbc-7335-a459-98abf90680e7"),
    workflow="csv-profile",
    options={},
    filename="people.csv",
    content_type="text/csv",
    bytes=64_446_686,
    sha256="d6a4e233da77c977b1cb71ecc4dcbff2e998d1d9693e7cd4f9100196478d9ece",
    created_at=datetime(2026, 11, 21, 2, 23, 27, tzinfo=UTC),
)
PROMISE = Promise(UPLOAD.id, UPLOAD.job_id, f"job:{UPLOAD.job_id}", UPLOAD.sha256, UPLOAD.bytes)
UPLOADS = Page([UPLOAD], str(UPLOAD.id))
