"""What ingest is told at its start."""

from pydantic import Field

from events.settings import ServiceSettings


class IngestSettings(ServiceSettings):
    max_upload_bytes: int = Field(default=10 * 1024**3, ge=1)  # bytes of one upload; a longer one is a 413
    body_idle_seconds: float = Field(default=15.0, gt=0)  # seconds that a body may pause before it is given up
    outbox_sweep_seconds: float = Field(default=1.0, gt=0)  # seconds between looks for open outbox rows
    outbox_retry_seconds: float = Field(default=3.0, gt=0)  # seconds until an open outbox row is published again
