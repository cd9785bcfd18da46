"""What the engine decides, fact by fact. A step's change is one as the log has it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from events.jobs import Artifact, Change, JobStatus, StepStatus
from processor.language.definition import JOB
from processor.language.expressions import ExpressionError
from processor.workflows.commands import Cancel, Park, Pause, Resume, Signal
from processor.workflows.state import Key, Node


@dataclass(frozen=True, slots=True)
class Began:
    pass


@dataclass(frozen=True, slots=True)
class TakenOver:
    crashed: bool


@dataclass(frozen=True, slots=True)
class Progressed:
    message: str | None
    step: str


@dataclass(frozen=True, slots=True)
class Emitted:
    key: Key
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ended:
    status: JobStatus
    result: Any = None


Fact: TypeAlias = Change | Began | TakenOver | Progressed | Emitted | Ended | Pause | Resume | Cancel | Signal | Park


def change_of(key: Key, became: StepStatus, node: Node, **more: Any) -> Change:
    """The newest change of a step says all that holds of it: who keeps track of it need not read the others."""
    change: Change = {"step": key[0], "became": became}
    if node.attempt > 1:
        change["attempt"] = node.attempt
    if node.child is not None:
        change["child"] = str(node.child)
    change.update(more)  # type: ignore[typeddict-item]  # the names are those of Change
    return with_item(change, key)


def with_item(change: Change, key: Key) -> Change:
    if key[1] is not None:
        change["item"] = key[1]
    return change


def kept_as(output: Any, blob: Any, artifacts: Sequence[Artifact] = ()) -> dict[str, Any]:
    kept = {"output": output} if blob is None else {"blob": blob}
    return {**kept, "artifacts": list(artifacts)} if artifacts else kept


def of_job(code: str, detail: str) -> Change:
    return {"step": JOB, "became": StepStatus.FAILED, "error": {"code": code, "detail": detail}}


def expression_failed(wrong: ExpressionError) -> Any:
    return {"code": "expression_failed", "detail": wrong.detail}
