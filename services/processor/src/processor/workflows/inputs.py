"""A workflow's inputs: their schemas, and what a job is given for them."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

import jsonschema_rs

from processor.workflows.definition import Definition
from processor.workflows.json_schemas import DIALECT, compiled, errors, of_schemas, problems
from processor.workflows.problems import Path, Problem, did_you_mean, shortened
from processor.workflows.values import unsound

MOST_RULES = 1_000  # objects in one schema, each counted as often as it is referred to
_DEEPEST_REFERENCES = 32
_MOST_PROBLEMS = 20  # of one schema

_REFERENCE = re.compile(r"#/(\$defs|definitions)/([^/]+)")
_NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"})
_DATA = frozenset({"const", "default", "enum", "examples"})  # keywords whose values are no schemas
_ELSEWHERE = ("$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor", "$vocabulary")

Inputs = Mapping[str, Mapping[str, Any]]


def check_inputs(
    definition: Definition, given: Mapping[str, Any], path: Path = ()
) -> tuple[dict[str, Any], list[Problem]]:
    """What a job begins with: what it is given, and the defaults of the rest."""
    found = [Problem(_within(path, problem.place), problem.code, problem.detail) for problem in unsound(dict(given))]
    if found:
        return {}, found
    found += names_problems(definition.inputs, given, path)
    for name, schema in definition.inputs.items():
        if name in given:
            found += problems(compiled(schema), schema, given[name], (*path, name))
    defaults = {name: schema["default"] for name, schema in definition.inputs.items() if "default" in schema}
    return defaults | dict(given), found


def names_problems(inputs: Inputs, given: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    for name in given:
        if name not in inputs:
            detail = f"There is no input {shortened(name)}.{did_you_mean(name, inputs)}"
            yield Problem.at((*path, name), "unknown_input", detail)
    for name, schema in inputs.items():
        if name not in given and "default" not in schema:
            yield Problem.at((*path, name), "missing", f"The input {name} must be given: it has no default.")


def schema_problems(schema: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    """A schema must be one, refer to nothing but itself, and be checked in no time whatever it is given."""
    wrong = [*_reference_problems(schema, path)]
    yield from wrong
    if wrong:
        return
    told: set[tuple[Any, ...]] = set()
    for error in errors(of_schemas(), dict(schema)):
        where = tuple(error.instance_path)
        if where not in told and len(told) < _MOST_PROBLEMS:  # the metaschema tells some errors many times
            told.add(where)
            yield Problem.at((*path, *where), "not_a_schema", f"This is no JSON Schema: {shortened(error.message)}.")
    if told:
        return
    try:
        validator = compiled(schema)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as wrong_part:
        said = wrong_part.message if isinstance(wrong_part, jsonschema_rs.ValidationError) else str(wrong_part)
        where = tuple(wrong_part.instance_path) if isinstance(wrong_part, jsonschema_rs.ValidationError) else ()
        yield Problem.at((*path, *where), "not_a_schema", f"This is no JSON Schema: {shortened(said)}.")
        return
    if "default" in schema:
        yield from problems(validator, schema, schema["default"], (*path, "default"))


def _reference_problems(schema: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    if schema.get("$schema", DIALECT) != DIALECT:
        yield Problem.at((*path, "$schema"), "not_a_schema", f"Only {DIALECT} is understood.")
    waiting: list[tuple[Path, Mapping[str, Any]]] = [(path, schema)]
    while waiting:
        where, node = waiting.pop()
        for keyword in _ELSEWHERE:
            if isinstance(node.get(keyword), str):
                detail = f"{keyword} is not supported: refer to a part of this schema by #/$defs/name."
                yield Problem.at((*where, keyword), "reference", detail)
        if isinstance(node.get("$ref"), str) and _target(schema, node["$ref"]) is None:
            detail = "A reference must name a part of this schema, like #/$defs/name; nothing is fetched."
            yield Problem.at((*where, "$ref"), "reference", detail)
        waiting += _subschemas(node, where)
    if _rules(schema, schema, {}, 0) > MOST_RULES:
        detail = f"A schema may have {MOST_RULES} parts, each counted as often as it is referred to; none to itself."
        yield Problem.at(path, "too_complex", detail)


def _target(schema: Mapping[str, Any], reference: str) -> Mapping[str, Any] | None:
    found = _REFERENCE.fullmatch(reference)
    parts = schema.get(found[1]) if found else None
    name = unquote(found[2]).replace("~1", "/").replace("~0", "~") if found else ""
    target = parts.get(name) if isinstance(parts, Mapping) else None
    return target if isinstance(target, Mapping) else None


def _subschemas(node: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    for keyword, value in node.items():
        members: list[tuple[Path, Any]]
        if keyword in _DATA:
            continue
        if keyword in _NAMED and isinstance(value, Mapping):
            members = [((*path, keyword, name), member) for name, member in value.items()]
        elif isinstance(value, list):
            members = [((*path, keyword, number), member) for number, member in enumerate(value)]
        else:
            members = [((*path, keyword), value)]
        yield from ((where, member) for where, member in members if isinstance(member, Mapping))


def _rules(node: Mapping[str, Any], schema: Mapping[str, Any], known: dict[str, int], depth: int) -> int:
    """A schema that refers to itself, or to parts that refer to others often, is endless for some value. So is one
    here, as soon as it is deep."""
    total = 0
    waiting = [node]
    while waiting and total <= MOST_RULES:
        rule = waiting.pop()
        total += 1
        reference = rule.get("$ref")
        if isinstance(reference, str):
            if reference not in known:
                known[reference] = MOST_RULES + 1  # until it is counted, it is within itself
                target = _target(schema, reference)
                if target is not None and depth < _DEEPEST_REFERENCES:
                    known[reference] = _rules(target, schema, known, depth + 1)
            total += known[reference]
        waiting += [member for _, member in _subschemas(rule)]
    return total


def _within(path: Path, place: str) -> str:
    outer = Problem.at(path, "", "").place
    return f"{outer}{'' if not outer or not place or place.startswith('[') else '.'}{place}"
