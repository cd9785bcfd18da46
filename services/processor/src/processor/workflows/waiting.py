"""What keeps a job from going on, so that nobody has to guess."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg
import msgspec

from events.jobs import JobStatus, StepStatus, SubStatus
from processor.workflows.plan import Kind, Plan


class WaitsFor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    kind: str  # worker, limit, time, signal, approval, job, remote, retry, resume, handler
    detail: str
    step: str | None = None
    signal: str | None = None  # what `POST …/signals/{name}` is to name
    until: datetime | None = None
    jobs_before: int | None = None  # of the same tenant; 1000 are that many or more
    since: datetime | None = None  # when a remote worker was asked for
    taken_at: datetime | None = None  # when one has taken it
    worker: str | None = None  # what it calls itself


def in_queue(place: asyncpg.Record | None, sub_status: SubStatus | None) -> list[WaitsFor]:
    """Of a job that has not begun."""
    if sub_status is SubStatus.PAUSED:
        return [_RESUME]
    if sub_status is SubStatus.PARKED:
        return [_HANDLER]
    if place is None or place["held"]:
        return []
    if place["blocked_by"] == "key":
        detail = f"{place['key_limit']} jobs with the key {place['key']} may be under way at once."
        return [WaitsFor(kind="limit", detail=detail, jobs_before=place["jobs_before"])]
    if place["blocked_by"] == "workflow":
        detail = f"{place['workflow_limit']} jobs of this workflow may be under way at once."
        return [WaitsFor(kind="limit", detail=detail, jobs_before=place["jobs_before"])]
    if place["not_yet"]:
        return [WaitsFor(kind="time", detail="Its time has not come.", until=place["due_at"])]
    return [WaitsFor(kind="worker", detail="A worker will take it in its turn.", jobs_before=place["jobs_before"])]


def under_way(status: JobStatus, sub_status: SubStatus | None, steps: Sequence[Any], plan: Plan) -> list[WaitsFor]:
    """Of a job that was begun: each step that waits, if none works."""
    if status is not JobStatus.PROCESSING:
        return []
    if sub_status is SubStatus.PAUSED:
        return [_RESUME]
    if sub_status is SubStatus.PARKED:
        return [_HANDLER]
    return [_step(row, plan) for row in steps if row["status"] in (StepStatus.WAITING, StepStatus.RETRYING)]


def _step(row: Any, plan: Plan) -> WaitsFor:
    name, item, due_at = row["step"], None if row["item"] < 0 else row["item"], row["due_at"]
    if row["status"] == StepStatus.RETRYING:
        return WaitsFor(kind="retry", detail=f"Attempt {row['attempt']} begins after a pause.", step=name, until=due_at)
    action = plan.action(name)
    match action.kind:
        case Kind.APPROVAL:
            return WaitsFor(
                kind="approval", detail=row["question"], step=name, signal=action.signal(item), until=due_at
            )
        case Kind.SIGNAL:
            detail = f"The signal {action.uses} has not come."
            return WaitsFor(kind="signal", detail=detail, step=name, signal=action.uses, until=due_at)
        case Kind.WORKFLOW:
            return WaitsFor(kind="job", detail=f"The job {row['child']} is not finished.", step=name)
        case Kind.REMOTE:
            return _remote(row, action.uses)
        case _:
            return WaitsFor(kind="time", detail="Its time has not come.", step=name, until=due_at)


def _remote(row: Any, queue: str) -> WaitsFor:
    taken = row["taken_at"] is not None
    return WaitsFor(
        kind="remote",
        detail=f"A worker of {queue} has it." if taken else f"No worker of {queue} has taken it yet.",
        step=row["step"],
        until=row["due_at"],
        since=row["since"],
        taken_at=row["taken_at"],
        worker=row["worker"] or None,
    )


_RESUME = WaitsFor(kind="resume", detail="It was paused.")
_HANDLER = WaitsFor(kind="handler", detail="No worker knows a handler that it needs, in the version that it needs.")
