"""What expressions can see where, as JSON Schemas, so that what cannot be there is found before a job runs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from processor.language.expressions import Expression, Reference
from processor.language.graph import Graph
from processor.language.json_schemas import TYPES, Schema
from processor.language.problems import Path, Problem, did_you_mean, shortened

ANYTHING: Schema = {}
ROOTS = ("inputs", "steps", "item", "index", "job")
# `fired_for` is null in a job that no schedule has started.
_ID: Schema = {"id": {"type": "string"}, "fired_for": {"type": ["string", "null"]}}
_END: Schema = {"status": {"type": "string"}, "error": {"type": ["object", "null"]}}
JOB: Schema = {"type": "object", "properties": _ID, "additionalProperties": False}
JOB_AT_END: Schema = {"type": "object", "properties": {**_ID, **_END}, "additionalProperties": False}
_ELSEWHERE = {
    "inputs": "inputs are not known here",
    "steps": "steps are not known here",
    "item": "item is only known in the `with` and the `wait` of a step with `map`",
    "index": "index is only known in the `with` and the `wait` of a step with `map`",
    "job": "job is not known here",
}


@dataclass(frozen=True, slots=True)
class Scope:
    schema: Schema
    graph: Graph | None = None  # only what comes before the step may be read
    step: str | None = None
    itself: bool = False  # the step's own output, too

    def with_roots(self, **roots: Schema) -> "Scope":
        return replace(self, schema=objects(self.schema["properties"] | roots))


def scope(**roots: Schema) -> Scope:
    return Scope(objects(roots))


def objects(members: Mapping[str, Schema]) -> Schema:
    return {"type": "object", "properties": members, "additionalProperties": False}


def step_schema(output: Schema) -> Schema:
    """`failed` counts a map's items."""
    members = {"output": output, "status": {"type": "string"}, "error": {"type": ["object", "null"]}}
    return objects({**members, "failed": {"type": "integer"}})


@dataclass(frozen=True, slots=True)
class DeadEnd:
    """So many parts of a path are there; these are the names that could have followed."""

    depth: int
    known: Sequence[str]
    owner: Schema


def walk(schema: Schema, path: Sequence[str | int]) -> Schema | DeadEnd:
    here: Any = schema
    for depth, part in enumerate(path):
        if not isinstance(here, Mapping):
            return ANYTHING
        types = types_of(here)
        properties = here.get("properties", {})
        if types is not None and ("array" if isinstance(part, int) else "object") not in types:
            return DeadEnd(depth, (), here)
        if isinstance(part, int):
            here = ANYTHING if "prefixItems" in here else here.get("items", ANYTHING)
        elif part in properties:
            here = properties[part]
        elif "patternProperties" in here:
            return ANYTHING
        elif here.get("additionalProperties") is False:
            return DeadEnd(depth, tuple(properties), here)
        else:
            here = here.get("additionalProperties", ANYTHING)
    return here if isinstance(here, Mapping) else ANYTHING


def types_of(schema: Schema) -> frozenset[str] | None:
    """None if it may be anything, for all that we know."""
    given = schema.get("type")
    if isinstance(given, str):
        types = frozenset({given})
    elif isinstance(given, list | tuple):
        types = frozenset(name for name in given if isinstance(name, str))  # what else there is, is told of the schema
    elif isinstance(schema.get("enum"), list):
        types = frozenset(_type(value) for value in schema["enum"])
    else:
        return None
    return types | {"integer"} if "number" in types else types


def _type(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case dict():
            return "object"
        case _:
            return "array"


def misfit(given: Schema, wanted: Schema) -> str | None:
    """A sentence, if what is given can never be what is wanted."""
    is_, should = types_of(given), types_of(wanted)
    if is_ is None or should is None or is_ & should:
        return None
    return f"It gives {_one_of(given)}, but {_one_of(wanted)} is wanted."


def _one_of(schema: Schema) -> str:
    given = schema.get("type") or sorted(types_of(schema) or ())
    names = [given] if isinstance(given, str) else [name for name in given if isinstance(name, str)]
    return " or ".join(TYPES.get(name, name) for name in names)


def reference_problems(expression: Expression, seen: Scope, path: Path) -> Iterator[Problem]:
    for reference in sorted(expression.references):
        yield from _problems(reference, seen, path)
    if expression.path is not None and len(expression.path) > len(next(iter(expression.references))):
        end = walk(seen.schema, expression.path)
        if isinstance(end, DeadEnd) and end.depth >= len(next(iter(expression.references))):
            yield _member_problem(expression.path, end, path)


def _problems(reference: Reference, seen: Scope, path: Path) -> Iterator[Problem]:
    end = walk(seen.schema, reference)
    root = reference[0]
    match end:
        case DeadEnd(depth=0) if root in ROOTS:
            yield Problem.at(path, "not_here", f"{_said(reference)} cannot be read: {_ELSEWHERE[root]}.")
            return
        case DeadEnd(depth=0):
            hint = did_you_mean(root, end.known)
            yield Problem.at(path, "unknown_root", f"{shortened(root)} is not known.{hint}")
            return
        case DeadEnd(depth=1) if root == "inputs":
            hint = did_you_mean(reference[1], end.known)
            yield Problem.at(path, "unknown_input", f"There is no input {shortened(reference[1])}.{hint}")
            return
        case DeadEnd(depth=1) if root == "steps":
            hint = _hyphenated(reference[1], end.known) or did_you_mean(reference[1], end.known)
            yield Problem.at(path, "unknown_step", f"There is no step {shortened(reference[1])}.{hint}")
            return
        case DeadEnd(depth=1) if root == "job" and reference[1] in _END:
            detail = f"{_said(reference)} cannot be read: it is only known in on_exit and compensate."
            yield Problem.at(path, "not_here", detail)
            return
        case DeadEnd():
            yield _member_problem(reference, end, path)
    if root == "steps" and len(reference) == 1:
        yield Problem.at(path, "unnamed_step", 'A step must be named as it is: steps.name or steps["name"].')
    elif root == "steps":
        yield from _order_problem(reference, seen, path)


def _hyphenated(name: str, known: Sequence[str]) -> str | None:
    meant = next((other for other in known if other.startswith(f"{name}-")), None)
    return None if meant is None else f' A name with a hyphen is written in brackets: steps["{meant}"].'


def _order_problem(reference: Reference, seen: Scope, path: Path) -> Iterator[Problem]:
    read, graph, step = reference[1], seen.graph, seen.step
    if graph is None or step is None or (read == step and seen.itself):
        return
    if read == step:
        yield Problem.at(path, "not_before", f"{_said(reference)} is its own: a step cannot read what it gives.")
    elif graph.ordered(step) and not (graph.ordered(read) and graph.before(read, step)):
        detail = f"{read} might not have run before {step}: add {read} to steps.{step}.depends."
        yield Problem.at(path, "not_before", detail)


def _member_problem(reference: Sequence[str | int], end: DeadEnd, path: Path) -> Problem:
    owner, name = _said(reference[: end.depth]), reference[end.depth]
    types = types_of(end.owner)
    if isinstance(name, int):
        detail = f"{owner} is {_one_of(end.owner)} and has no items."
    elif types is not None and "object" not in types:
        hint = f" Take one of its items first: {owner}[0]." if "array" in types else ""
        detail = f"{owner} is {_one_of(end.owner)} and has no {shortened(name)}.{hint}"
    else:
        detail = f"There is no {shortened(name)} in {owner}.{did_you_mean(name, end.known)}"
    return Problem.at(path, "unknown_member", detail)


def _said(reference: Sequence[str | int]) -> str:
    return shortened(Problem.at(tuple(reference), "", "").place)
