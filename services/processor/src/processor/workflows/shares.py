"""How much of a job is done: the shares of its steps and items, by their weights."""

from events.jobs import StepStatus
from processor.workflows.plan import PlannedStep
from processor.workflows.state import JobState, Key, Node


def reach(state: JobState, key: Key, node: Node, done: float) -> None:
    """How much of a step, and so of the job, is done."""
    name, item = key
    if name not in state.plan.steps or (node.map is not None and node.map.count):
        return  # a map is done as its items are
    share = state.plan.steps[name].weight
    if item is not None:
        if name not in state.maps:
            return  # reused: counted when the map is expanded
        share /= state.maps[name].count
    state.done_weight += share * (done - node.done)
    node.done = done


def report(state: JobState, key: Key, done: float) -> None:
    """What a step says of itself; the log only keeps what it comes to in percent."""
    node = state.running.get(key) or state.held_back.get(key)
    if node is not None:
        reach(state, key, node, min(max(node.done, done), 1.0))  # in this order, no number is the former one


def gained(node: Node, step: PlannedStep) -> float:
    """What the job got further by its end: a step that it fails with, or that is stopped, got it nowhere."""
    lost = node.status is StepStatus.CANCELLED or (node.status is StepStatus.FAILED and not step.continue_on_failure)
    return 0.0 if lost else 1.0
