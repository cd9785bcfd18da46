"""How a job ends: what was begun is undone if it must be, then comes the exit, then its last word."""

from collections.abc import Generator, Iterator
from datetime import datetime
from typing import Any

from events.jobs import JobStatus
from processor.language.definition import ON_EXIT
from processor.language.expressions import ExpressionError
from processor.workflows.begins import begin_action
from processor.workflows.facts import Ended, Fact, expression_failed, of_job
from processor.workflows.limits import Limits
from processor.workflows.plan import COMPENSATE
from processor.workflows.scope import value_of
from processor.workflows.state import JobState, Key


def compensate(state: JobState, now: datetime, limits: Limits) -> Iterator[Fact]:
    """One at a time, the last that was begun first. One that fails does not keep the others from being undone."""
    if not state.begun:
        return
    name, item = next(reversed(state.begun))
    compensation = state.plan.steps[name].compensate
    assert compensation is not None
    yield from begin_action(state, (COMPENSATE + name, item), compensation, now, limits)


def leave(state: JobState, now: datetime, limits: Limits) -> Generator[Fact, None, bool]:
    """Whether that was the end."""
    result = None
    if state.outcome is None:
        try:
            result = _result(state)
        except ExpressionError as wrong:
            yield of_job(**expression_failed(wrong))
            return False
    if state.plan.on_exit is not None and (ON_EXIT, None) not in state.nodes and not state.leaves:
        if not state.parked:
            yield from begin_action(state, (ON_EXIT, None), state.plan.on_exit, now, limits)
        return False
    if state.outcome is None:
        yield Ended(JobStatus.COMPLETED, result)
    else:
        yield Ended(JobStatus.CANCELLED if state.cancelled else JobStatus.FAILED)
    return True


def _result(state: JobState) -> Any:
    plan = state.plan
    if plan.output is not None:
        return value_of(state, plan.output)
    outputs = {name: _as_kept(state, (name, None)) for name in plan.last}
    return outputs[plan.last[0]] if len(outputs) == 1 else outputs


def _as_kept(state: JobState, key: Key) -> Any:
    """An output, or where it is kept."""
    node = state.nodes[key]
    if node.map is None:
        return node.blob if node.blob is not None else node.output
    return [_as_kept(state, (key[0], item)) for item in range(node.map.count)]
