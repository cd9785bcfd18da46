"""What clients see of workflows, and what a job looks like."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from events.envelope import encode_json
from events.errors import FieldError
from events.jobs import JobStatus, StepStatus
from events.web.openapi import Page
from processor.workflows.built_in import BUILT_IN, BUILT_IN_VERSION, CSV_PROFILE
from processor.workflows.jobs import ItemView, Job, Spread, Statistics, StepView, WholeJob


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


class ListedWorkflow(msgspec.Struct, frozen=True, kw_only=True):
    """Without its document, which may be large."""

    id: str  # its name
    version: int
    published_at: datetime
    published_by: str | None = None
    retired_at: datetime | None = None  # from then on, nobody can start it


class WorkflowView(ListedWorkflow, frozen=True, kw_only=True):
    document: msgspec.Raw  # in its canonical form


class Verdict(msgspec.Struct, frozen=True):
    valid: bool
    errors: list[FieldError]  # each with its place in the document
    mermaid: str  # the graph, as far as there is one


PIPELINES = Page(
    [
        Pipeline(known.name, BUILT_IN_VERSION, known.title or "", known.description or "", tuple(known.steps), _OPTIONS)
        for known in BUILT_IN.values()
    ],
    None,
)

_LISTED = Job(
    id=UUID("01a1fbea-6fbc-7335-a459-98abf90680e7"),
    workflow=CSV_PROFILE.name,
    workflow_version=BUILT_IN_VERSION,
    status=JobStatus.PROCESSING,
    progress_percent=22,
    eta_seconds=7,
    current_step="csv-profile",
    step_message="Reading the columns: 12.6 of 64.4 MB",
    version=9,
    attempts=1,
    input=msgspec.Raw(encode_json({"upload_id": "01a1fbea-6e13-7d45-ac0a-768cee331159", "options": {}})),
    created_at=datetime(2026, 11, 21, 2, 23, 27, tzinfo=UTC),
    started_at=datetime(2026, 11, 21, 2, 23, 28, tzinfo=UTC),
    updated_at=datetime(2026, 11, 21, 2, 23, 30, tzinfo=UTC),
)
JOB = WholeJob(
    **msgspec.structs.asdict(_LISTED),
    steps=[
        StepView(
            id="csv-profile",
            status=StepStatus.RUNNING,
            attempt=1,
            started_at=datetime(2026, 11, 21, 2, 23, 28, tzinfo=UTC),
        )
    ],
)
PROMISED = Job(
    id=_LISTED.id,
    workflow=_LISTED.workflow,
    workflow_version=_LISTED.workflow_version,
    version=1,
    input=_LISTED.input,
    created_at=_LISTED.created_at,
    updated_at=_LISTED.created_at,
)
JOBS = Page([_LISTED], None)
ITEMS = Page(
    [
        ItemView(
            id=0,
            status=StepStatus.COMPLETED,
            attempt=1,
            output=msgspec.Raw(b'{"rows":2000}'),
            finished_at=datetime(2026, 11, 21, 2, 23, 29, tzinfo=UTC),
        )
    ],
    None,
)
STATISTICS = Page(
    [
        Statistics(
            id=CSV_PROFILE.name,
            pending=1,
            processing=2,
            completed=1804,
            failed=3,
            cancelled=0,
            per_minute=1.255,
            wait_seconds=Spread(0.004, 0.019, 0.4),
            run_seconds=Spread(0.31, 2.2, 9.0),
            oldest_pending_at=datetime(2026, 11, 21, 2, 23, 27, tzinfo=UTC),
        )
    ],
    None,
)
WORKFLOW = WorkflowView(
    id="nightly",
    version=2,
    document=msgspec.Raw(
        b'{"name":"nightly","steps":{"a":{"uses":"sleep","with":{"seconds":1}},'
        b'"b":{"uses":"sleep","with":{"seconds":1},"depends":["a"]}}}'
    ),
    published_at=datetime(2026, 11, 21, 2, 0, tzinfo=UTC),
    published_by="user:01a1fbe0-3c5e-7b1a-9d52-0b6a7f2f3c11",
)
WORKFLOWS = Page(
    [
        ListedWorkflow(
            id=WORKFLOW.id,
            version=WORKFLOW.version,
            published_at=WORKFLOW.published_at,
            published_by=WORKFLOW.published_by,
        )
    ],
    None,
)
VERDICT = Verdict(
    valid=False,
    errors=[FieldError("body.steps.b.depends[0]", "unknown_step", "There is no step c. There are: a, b.")],
    mermaid="flowchart TD\n",
)
