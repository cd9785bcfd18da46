"""What clients see of workflows, and what a job looks like."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from events.envelope import encode_json
from events.jobs import JobStatus
from events.openapi import Page
from processor.workflows.definition import CSV_PROFILE, WORKFLOWS
from processor.workflows.jobs import Job


class Pipeline(msgspec.Struct, frozen=True):
    id: str
    version: int
    title: str
    description: str
    steps: tuple[str, ...]
    options: dict[str, Any]  # a JSON Schema


PIPELINES = Page(
    [
        Pipeline(known.name, known.version, known.title, known.description, known.steps, known.options_schema)
        for known in WORKFLOWS.values()
    ],
    None,
)

JOB = Job(
    id=UUID("01a1fbea-6fbc-7335-a459-98abf90680e7"),
    workflow=CSV_PROFILE.name,
    status=JobStatus.PROCESSING,
    progress_percent=22,
    current_step=CSV_PROFILE.steps[0],
    step_message="Reading the columns: 12.6 of 64.4 MB",
    version=9,
    attempts=1,
    input=msgspec.Raw(encode_json({"upload_id": "01a1fbea-6e13-7d45-ac0a-768cee331159", "options": {}})),
    created_at=datetime(2026, 11, 21, 2, 23, 27, tzinfo=UTC),
    started_at=datetime(2026, 11, 21, 2, 23, 28, tzinfo=UTC),
    updated_at=datetime(2026, 11, 21, 2, 23, 30, tzinfo=UTC),
)
JOBS = Page([JOB], None)
