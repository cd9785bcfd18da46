"""What expressions can read of a job: its inputs, what its steps gave, and in a map the item."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC
from typing import Any

from events.jobs import JobStatus
from processor.language.expressions import Expression, ExpressionError, Template
from processor.language.operands import MOST_WORK, Work
from processor.workflows.plan import COMPENSATE, PlannedAction
from processor.workflows.state import JobState, Key


class _Steps(Mapping[str, Any]):
    """Steps that have ended. What one gave is looked up when it is asked for."""

    def __init__(self, state: JobState) -> None:
        self._state = state

    def __getitem__(self, name: str) -> Any:
        node = self._state.nodes[name, None]
        output = self._state.output_of((name, None)) if name in self._state.plan.read else None
        failed = 0 if node.map is None else node.map.failed
        return {"output": output, "status": node.status.value, "error": node.error, "failed": failed}

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._state.plan.steps if (name, None) in self._state.nodes)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def value_of(state: JobState, written: Expression | Template, key: Key | None = None) -> Any:
    """What it gives, read at this step."""
    return _counted(state, written.evaluate, scope_of(state, key))


def scope_of(state: JobState, key: Key | None = None) -> Mapping[str, Any]:
    scope: dict[str, Any] = {"inputs": state.created.input, "steps": _Steps(state), "job": _job(state)}
    if key is not None and key[1] is not None:
        scope["index"] = key[1]
        scope["item"] = items_of(state, key[0].removeprefix(COMPENSATE))[key[1]]
    return scope


def items_of(state: JobState, step: str) -> list[Any]:
    """What a map goes over. It follows from what the log holds, so the log need not repeat it."""
    if step not in state.items:
        template = state.plan.steps[step].items
        assert template is not None
        found = _counted(state, template.items, scope_of(state))
        if not isinstance(found, list):
            raise ExpressionError("type", "A map goes over a list, and this is none.")
        state.items[step] = found
    return state.items[step]


def parameters_of(state: JobState, key: Key, action: PlannedAction) -> Any:
    """What an action is given, `with` filled in."""
    return action.parameters.evaluate({}) if action.parameters.literal else value_of(state, action.parameters, key)


def _counted(state: JobState, evaluate: Callable[[Mapping[str, Any], Work], Any], scope: Mapping[str, Any]) -> Any:
    work = Work()
    try:
        return evaluate(scope, work)
    finally:
        state.work += MOST_WORK - work.left


def _job(state: JobState) -> Mapping[str, Any]:
    fired_for = state.created.fired_for
    known = {
        "id": str(state.id),
        "fired_for": None if fired_for is None else fired_for.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    if state.outcome is None:
        status = JobStatus.COMPLETED if state.unfinished == 0 else JobStatus.PROCESSING
        return {**known, "status": status.value, "error": None}
    status = JobStatus.CANCELLED if state.cancelled else JobStatus.FAILED
    return {**known, "status": status.value, "error": state.outcome.model_dump()}
