"""What is wrong with a workflow's document: all of it at once, each with its place."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from processor.handlers import HANDLERS, Handler
from processor.language.actions import Actions, Workflows, condition_problems, duration_problems
from processor.language.canonical import definition_of
from processor.language.definition import INPUT_PATTERN, MOST_ITEMS, RESERVED, STEP_PATTERN, Definition
from processor.language.expressions import ExpressionError, condition
from processor.language.graph import Graph
from processor.language.inputs import inputs_problems
from processor.language.json_schemas import Schema
from processor.language.parameters import expressions_in, misfit_of
from processor.language.problems import Path, Problem, did_you_mean, shortened
from processor.language.scopes import ANYTHING, JOB, JOB_AT_END, Scope, objects, scope, step_schema, walk
from processor.language.shape import shape_problems
from processor.language.values import unsound

MOST_PROBLEMS = 1_000
_LONGEST_CYCLE = 50  # steps that are named of it


_LIST: Schema = {"type": "array"}


@dataclass(frozen=True, slots=True)
class Validated:
    definition: Definition | None  # if there are no problems
    problems: tuple[Problem, ...]


def no_workflows(name: str, version: int | None) -> None:
    """What a document is checked against where nothing is known of others."""


def validate(
    document: Any, *, handlers: Mapping[str, Handler] = HANDLERS, workflows: Workflows = no_workflows
) -> Validated:
    """`workflows` gives another's inputs by its name and version, None being the newest; None if there is none."""
    found = tuple(dict.fromkeys(islice(_problems(document, handlers, workflows), MOST_PROBLEMS)))
    return Validated(None if found else definition_of(document), found)


def _problems(document: Any, handlers: Mapping[str, Handler], workflows: Workflows) -> Iterator[Problem]:
    wrong = [*islice(unsound(document), MOST_PROBLEMS)]
    if wrong:
        yield from wrong
        return
    yield from shape_problems(document)
    if isinstance(document, dict):
        yield from _Document(document, handlers, workflows).problems()


class _Document:
    """One whose shape may be wrong: what is, is passed over here."""

    def __init__(self, document: Mapping[str, Any], handlers: Mapping[str, Handler], workflows: Workflows) -> None:
        self._document = document
        self._steps = {name: step for name, step in _object(document.get("steps")).items() if isinstance(step, dict)}
        self._inputs = {name: one for name, one in _object(document.get("inputs")).items() if isinstance(one, dict)}
        self._actions = Actions(document.get("name"), handlers, workflows)
        self._graph = Graph({name: _texts(step.get("depends")) for name, step in self._steps.items()})
        outputs = {name: step_schema(self._output(step)) for name, step in self._steps.items()}
        self._scope = scope(inputs=objects(self._inputs), steps=objects(outputs), job=JOB)

    def problems(self) -> Iterator[Problem]:
        yield from self._name_problems()
        yield from inputs_problems(self._inputs, ("inputs",))
        yield from self._graph_problems()
        for name, step in self._steps.items():
            yield from self._step_problems(name, step)
        yield from self._unreachable()
        found: list[Problem] = []
        expressions_in(self._document.get("output"), ("output",), self._scope, found)
        yield from found
        if isinstance(on_exit := self._document.get("on_exit"), dict):
            at_end = self._scope.with_roots(job=JOB_AT_END)
            yield from self._actions.problems(on_exit, ("on_exit",), at_end, at_end)
        concurrency = _object(self._document.get("concurrency"))
        if isinstance(key := concurrency.get("key"), str):
            yield from condition_problems(key, ("concurrency", "key"), scope(inputs=objects(self._inputs)))
        elif "limit_per_key" in concurrency and key is None:
            yield Problem.at(("concurrency", "limit_per_key"), "not_here", "A limit per key needs a key.")
        yield from duration_problems(self._document.get("timeout"), ("timeout",), above_zero=True)

    def _output(self, step: Mapping[str, Any]) -> Schema:
        output = self._actions.output(step)
        return {"type": "array", "items": output} if "map" in step else output

    def _name_problems(self) -> Iterator[Problem]:
        for names, pattern, says in (
            ("steps", STEP_PATTERN, "a small letter, then up to 63 small letters, digits, _ or -"),
            ("inputs", INPUT_PATTERN, "a letter or _, then up to 63 letters, digits, _ or -"),
        ):
            for name in _object(self._document.get(names)):
                if not re.fullmatch(pattern[:-1], name):
                    detail = f"{shortened(name)!r} is not of the right form: {says}."
                    yield Problem.at((names, name), "wrong_name", detail)

    def _graph_problems(self) -> Iterator[Problem]:
        for name, step in self._steps.items():
            seen: set[str] = set()
            for number, before in enumerate(_items(step.get("depends"))):
                path: Path = ("steps", name, "depends", number)
                if not isinstance(before, str):
                    continue
                if before == name:
                    yield Problem.at(path, "self_dependency", "A step cannot come before itself.")
                elif before in seen:
                    yield Problem.at(path, "duplicate", f"{shortened(before)} is named twice.")
                elif before not in self._steps:
                    hint = did_you_mean(before, self._steps)
                    yield Problem.at(path, "unknown_step", f"There is no step {shortened(before)}.{hint}")
                seen.add(before)
        for cycle in self._graph.cycles():
            number = _items(self._steps[cycle[0]].get("depends")).index(cycle[1])
            named = [*cycle[:_LONGEST_CYCLE], *(["…"] if len(cycle) > _LONGEST_CYCLE else []), cycle[0]]
            detail = f"These {len(cycle)} steps wait for each other: {' → '.join(map(shortened, named))}."
            yield Problem.at(("steps", cycle[0], "depends", number), "cycle", detail)

    def _step_problems(self, name: str, step: Mapping[str, Any]) -> Iterator[Problem]:
        path: Path = ("steps", name)
        if name in RESERVED:
            yield Problem.at(path, "reserved", f"A step cannot be called {name}: the log uses this name itself.")
        before = Scope(self._scope.schema, self._graph, name)
        seen = before
        if isinstance(map_ := step.get("map"), dict):
            item, found = self._items_of(map_, (*path, "map", "items"), before)
            yield from found
            seen = before.with_roots(item=item, index={"type": "integer"})
        yield from self._actions.problems(step, path, seen, before)
        if isinstance(undo := step.get("compensate"), dict):
            after = Scope(seen.with_roots(job=JOB_AT_END).schema, self._graph, name, itself=True)
            yield from self._actions.problems(undo, (*path, "compensate"), after, after)

    def _items_of(self, map_: Mapping[str, Any], path: Path, seen: Scope) -> tuple[Schema, list[Problem]]:
        """What is known of each item, and what is wrong with the list."""
        items, found = map_.get("items"), list[Problem]()
        if isinstance(items, list) and len(items) > MOST_ITEMS:
            return ANYTHING, [Problem.at(path, "too_long", f"This may have at most {MOST_ITEMS} items.")]
        holes = expressions_in(items, path, seen, found)
        if not isinstance(items, str) or found:
            return ANYTHING, found
        template = holes.get(())
        if template is None or template.whole is None:
            detail = "This must be a list, or one expression that gives a list, within ${{ }}."
            return ANYTHING, [Problem.at(path, "wrong_type", detail)]
        detail_or_none = misfit_of(template, _LIST, seen)
        if detail_or_none is not None:
            return ANYTHING, [Problem.at(path, "wrong_type", detail_or_none)]
        item = walk(seen.schema, (*template.whole.path, 0)) if template.whole.path is not None else ANYTHING
        return (item if isinstance(item, Mapping) else ANYTHING), found

    def _unreachable(self) -> Iterator[Problem]:
        """Steps that no job can come to."""
        in_cycles = {name for cycle in self._graph.cycles() for name in cycle}
        for name, step in self._steps.items():
            if _never(step.get("when")):
                detail = f"{name} can never run: its condition is always false."
                yield Problem.at(("steps", name, "when"), "unreachable", detail)
            elif name not in in_cycles and not self._graph.ordered(name):
                detail = f"{name} can never run: what comes before it waits for itself."
                yield Problem.at(("steps", name, "depends"), "unreachable", detail)


def _never(when: Any) -> bool:
    if when is False:
        return True
    if not isinstance(when, str):
        return False
    try:
        expression = condition(when)
        return not expression.references and not expression.evaluate({})
    except ExpressionError:
        return False


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(value: Any) -> list[str]:
    return [item for item in _items(value) if isinstance(item, str)]
