"""What ingest is told at its start."""

from typing import Annotated

from pydantic import Field

from events.settings import BodySettings, OutboxSettings

Kept = Annotated[float, Field(ge=0)] | None


class IngestSettings(OutboxSettings, BodySettings):
    max_upload_bytes: int = Field(default=10 * 1024**3, ge=1)  # bytes of one upload; a longer one is a 413
    quota_bytes_per_day: int | None = Field(default=None, ge=0)  # bytes that a tenant may upload in a day of UTC
    quota_bytes_per_month: int | None = Field(default=None, ge=0)  # the same in a month
    loose_blob_seconds: float = Field(default=300.0, gt=0)  # seconds until a blob without an upload is removed
    file_expires_seconds: float = Field(default=86_400.0, gt=0)  # seconds until a file that nobody continues is gone
    file_sweep_seconds: float = Field(default=10.0, gt=0)  # seconds between looks for files that were left behind
    file_completion_seconds: float = Field(default=20.0, ge=0)  # seconds that a request waits for its upload
    retention_seconds: Kept = None  # seconds that uploads are kept; none: for ever
    retention_seconds_of: dict[str, Kept] = Field(default_factory=dict)  # the same of single tenants
    retention_sweep_seconds: float = Field(default=60.0, gt=0)  # seconds between looks for uploads whose time is over
