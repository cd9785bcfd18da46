"""What the processor is told at its start."""

from pydantic import Field

from events.settings import ServiceSettings


class ProcessorSettings(ServiceSettings):
    database_pool_size: int = Field(
        default=16, ge=8, le=200
    )  # connections; the doorbell, the log and each relay keep one
    workers: int = Field(default=2, ge=1, le=64)  # jobs that are worked on at once
    lease_seconds: float = Field(default=10.0, gt=0)  # until the job of a killed worker is taken over
    step_attempts: int = Field(default=3, ge=1)  # times that a step's process may die before its job fails
    claim_poll_seconds: float = Field(default=1.0, gt=0)  # between looks for jobs that nobody woke us for
