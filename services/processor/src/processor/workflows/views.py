"""What clients see of workflows, and what a job looks like."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from events.envelope import encode_json
from events.jobs import JobStatus
from events.openapi import Page
from processor.workflows.built_in import BUILT_IN, BUILT_IN_VERSION, CSV_PROFILE
from processor.workflows.jobs import Job


class Pipeline(msgspec.Struct, frozen=True):
    id: str
    version: int
    title: str
    description: str
    steps: tuple[str, ...]
    options: dict[str, Any]  # a JSON Schema


_OPTIONS: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {},
}

PIPELINES = Page(
    [
        Pipeline(known.name, BUILT_IN_VERSION, known.title or "", known.description or "", tuple(known.steps), _OPTIONS)
        for known in BUILT_IN.values()
    ],
    None,
)

JOB = Job(
    id=UUID("01a1fbea-6fbc-7335-a459-98abf90680e7"),
    workflow=CSV_PROFILE.name,
    status=JobStatus.PROCESSING,
    progress_percent=22,
    current_step="csv-profile",
    step_message="Reading the columns: 12.6 of 64.4 MB",
    version=9,
    attempts=1,
    input=msgspec.Raw(encode_json({"upload_id": "01a1fbea-6e13-7d45-ac0a-768cee331159", "options": {}})),
    created_at=datetime(2026, 11, 21, 2, 23, 27, tzinfo=UTC),
    started_at=datetime(2026, 11, 21, 2, 23, 28, tzinfo=UTC),
    updated_at=datetime(2026, 11, 21, 2, 23, 30, tzinfo=UTC),
)
JOBS = Page([JOB], None)
