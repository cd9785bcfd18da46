"""What a job that retries another need not do again."""

from collections import deque

from events.jobs import Change, StepStatus
from processor.workflows.plan import COMPENSATE
from processor.workflows.state import JobState, Key, Node


def reusable(former: JobState) -> list[Change]:
    """The steps and map items that the former job has finished and not undone, if what they were given is the same: all
    before them is reused as well."""
    undone = {(name.removeprefix(COMPENSATE), item) for name, item in former.nodes if name.startswith(COMPENSATE)}
    items_of: dict[str, list[Key]] = {}
    for key in former.nodes:
        if key[1] is not None and not key[0].startswith(COMPENSATE):
            items_of.setdefault(key[0], []).append(key)
    changes: list[Change] = []
    same: dict[str, bool] = {}
    awaited = {name: len(step.depends) for name, step in former.plan.steps.items()}
    ready = deque(name for name, count in awaited.items() if not count)
    while ready:
        name = ready.popleft()
        step = former.plan.steps[name]
        node = former.nodes.get((name, None))
        same[name] = False
        if node is not None and all(same[before] for before in step.depends):
            if node.status is StepStatus.SKIPPED:
                same[name] = True
            elif step.items is not None:
                finished = [
                    key
                    for key in items_of.get(name, [])
                    if former.nodes[key].status is StepStatus.COMPLETED and key not in undone
                ]
                changes += [_reused(key, former.nodes[key]) for key in finished]
                same[name] = node.status is StepStatus.COMPLETED and len(finished) == len(items_of.get(name, []))
            elif node.status is StepStatus.COMPLETED and (name, None) not in undone:
                changes.append(_reused((name, None), node))
                same[name] = True
        for after in step.dependents:
            awaited[after] -= 1
            if not awaited[after]:
                ready.append(after)
    return changes


def _reused(key: Key, node: Node) -> Change:
    change: Change = {"step": key[0], "became": StepStatus.COMPLETED, "reused": True}
    if key[1] is not None:
        change["item"] = key[1]
    if node.blob is not None:
        change["blob"] = node.blob
    else:
        change["output"] = node.output
    if node.artifacts:
        change["artifacts"] = list(node.artifacts)
    return change
