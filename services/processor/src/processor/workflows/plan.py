"""A definition made ready to be run: its graph turned around, its expressions parsed."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from processor.handlers import HANDLERS, Handler, Runs
from processor.language.definition import ON_EXIT, REMOTE, Action, Definition, Retry, Step
from processor.language.expressions import Expression, Template

COMPENSATE = "compensate:"  # before the name of the step that is undone


class Kind(Enum):
    HERE = auto()
    PROCESS = auto()
    REMOTE = auto()
    TIMER = auto()
    UNTIL = auto()
    SIGNAL = auto()
    APPROVAL = auto()
    WORKFLOW = auto()

    @property
    def works(self) -> bool:
        """Whether the worker has a task for it; else it waits for a time or a message."""
        return self in (Kind.HERE, Kind.PROCESS)


@dataclass(frozen=True, slots=True)
class PlannedAction:
    name: str
    kind: Kind
    uses: str  # the handler, the remote queue, the signal or the workflow
    parameters: Template  # of a wait: what it waits for
    when: Expression | None
    retry: Retry | None
    timeout: float | None
    version: int | None = None

    def signal(self, item: int | None) -> str | None:
        """What it waits for somebody to say. An approval is answered by its step's name, and its item."""
        if self.kind is Kind.SIGNAL:
            return self.uses
        if self.kind is not Kind.APPROVAL:
            return None
        name = self.name.replace(":", ".")  # no signal may have a colon
        return name if item is None else f"{name}.{item}"


@dataclass(frozen=True, slots=True)
class PlannedStep:
    action: PlannedAction
    depends: tuple[str, ...]
    dependents: tuple[str, ...]
    items: Template | None
    parallel: int
    compensate: PlannedAction | None
    continue_on_failure: bool
    weight: float


@dataclass(frozen=True, slots=True)
class Plan:
    definition: Definition
    steps: Mapping[str, PlannedStep]  # in the document's order
    on_exit: PlannedAction | None
    output: Template | None
    last: tuple[str, ...]  # steps that no other depends on
    read: frozenset[str]  # steps that an expression reads
    total_weight: float
    handlers: Mapping[str, int]  # the versions of those that it uses

    @property
    def needs_process(self) -> bool:
        return any(action.kind is Kind.PROCESS for action in self.actions())

    def actions(self) -> list[PlannedAction]:
        undoing = [step.compensate for step in self.steps.values() if step.compensate is not None]
        return [*(step.action for step in self.steps.values()), *undoing, *([self.on_exit] if self.on_exit else [])]

    def action(self, name: str) -> PlannedAction:
        """The one that a step's name stands for in the log."""
        if name == ON_EXIT:
            assert self.on_exit is not None
            return self.on_exit
        if name.startswith(COMPENSATE):
            compensation = self.steps[name.removeprefix(COMPENSATE)].compensate
            assert compensation is not None
            return compensation
        return self.steps[name].action


def plan(definition: Definition, handlers: Mapping[str, Handler] = HANDLERS) -> Plan:
    """Of a definition that has been found valid."""
    dependents: dict[str, list[str]] = {name: [] for name in definition.steps}
    for name, step in definition.steps.items():
        for before in step.depends:
            dependents[before].append(name)
    steps = {name: _step(name, step, tuple(dependents[name]), handlers) for name, step in definition.steps.items()}
    on_exit = None if definition.on_exit is None else _action(ON_EXIT, definition.on_exit, handlers)
    output = None if definition.output is None else Template.parse(definition.output)
    half = Plan(
        definition,
        steps,
        on_exit,
        output,
        tuple(name for name, after in dependents.items() if not after),
        frozenset(),
        sum(step.weight for step in steps.values()) or 1.0,
        {},
    )
    actions = half.actions()
    expressions = [one.parameters.references for one in actions]
    expressions += [one.when.references for one in actions if one.when is not None]
    expressions += [step.items.references for step in steps.values() if step.items is not None]
    expressions += [output.references] if output is not None else []
    return Plan(
        definition,
        steps,
        on_exit,
        output,
        half.last,
        frozenset(path[1] for paths in expressions for path in paths if path[0] == "steps" and len(path) > 1),
        half.total_weight,
        {one.uses: handlers[one.uses].version for one in actions if one.kind.works and one.uses in handlers},
    )


def _step(name: str, step: Step, dependents: tuple[str, ...], handlers: Mapping[str, Handler]) -> PlannedStep:
    return PlannedStep(
        action=_action(name, step, handlers),
        depends=step.depends,
        dependents=dependents,
        items=None if step.map is None else Template.parse(step.map.items),
        parallel=1 if step.map is None else step.map.parallel,
        compensate=None if step.compensate is None else _action(COMPENSATE + name, step.compensate, handlers),
        continue_on_failure=step.continue_on_failure,
        weight=step.weight,
    )


def _action(name: str, action: Action, handlers: Mapping[str, Handler]) -> PlannedAction:
    kind, uses, given = _kind(action, handlers)
    return PlannedAction(
        name=name,
        kind=kind,
        uses=uses,
        parameters=Template.parse(given),
        when=None if action.when is None else Expression.parse(action.when),
        retry=action.retry,
        timeout=action.timeout,
        version=action.version,
    )


def _kind(action: Action, handlers: Mapping[str, Handler]) -> tuple[Kind, str, Any]:
    wait = action.wait
    if wait is not None:
        if wait.timer is not None:
            return Kind.TIMER, "", wait.timer
        if wait.until is not None:
            return Kind.UNTIL, "", wait.until
        if wait.signal is not None:
            return Kind.SIGNAL, wait.signal, None
        return Kind.APPROVAL, "", wait.approval
    if action.workflow is not None:
        return Kind.WORKFLOW, action.workflow, action.with_
    assert action.uses is not None
    if action.uses.startswith(REMOTE):
        return Kind.REMOTE, action.uses.removeprefix(REMOTE), action.with_
    if action.uses == "sleep":
        return Kind.TIMER, "", action.with_["seconds"]
    if action.uses == "approve":
        return Kind.APPROVAL, "", action.with_["question"]
    handler = handlers.get(action.uses)
    return (
        (Kind.PROCESS if handler is not None and handler.runs is Runs.PROCESS else Kind.HERE),
        action.uses,
        action.with_,
    )
