"""The schemas of inputs, which anybody may write: each must be one, refer to nothing but itself, and be checked in no
time whatever a job is given."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

import jsonschema_rs
import msgspec

from processor.language.json_schemas import DIALECT, compiled, errors, of_schemas
from processor.language.problems import Path, Problem, shortened

MOST_RULES = 500  # objects in one schema, each counted as often as it is referred to
LARGEST = 1 << 17  # bytes
_DEEPEST_REFERENCES = 32
_MOST_PROBLEMS = 20  # of one schema

_REFERENCE = re.compile(r"#/(\$defs|definitions)/([^/]+)")
_NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"})
_DATA = frozenset({"const", "default", "enum", "examples"})  # keywords whose values are no schemas
_ELSEWHERE = ("$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor", "$vocabulary")


def schema_problems(schema: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    """Once there are none, it can be compiled."""
    if len(msgspec.json.encode(schema)) > LARGEST:
        yield Problem.at(path, "too_large", f"A schema may have {LARGEST} bytes.")
        return
    wrong = [*_reference_problems(schema, path)]
    if not wrong and rules_in(schema) > MOST_RULES:
        detail = f"A schema may have {MOST_RULES} parts, each counted as often as it is referred to; none to itself."
        wrong = [Problem.at(path, "too_complex", detail)]
    wrong = wrong or [*_language_problems(schema, path)]
    if wrong:
        yield from wrong
        return
    try:
        compiled(schema)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as refused:
        told = isinstance(refused, jsonschema_rs.ValidationError)
        where = tuple(refused.instance_path) if isinstance(refused, jsonschema_rs.ValidationError) else ()
        said = refused.message if told else str(refused)  # type: ignore[union-attr]
        yield Problem.at((*path, *where), "not_a_schema", f"This is no JSON Schema: {shortened(said)}.")


def _language_problems(schema: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    """The metaschema tells some errors many times."""
    told: set[tuple[Any, ...]] = set()
    for error in errors(of_schemas(), dict(schema)):
        where = tuple(error.instance_path)
        if where not in told and len(told) < _MOST_PROBLEMS:
            told.add(where)
            yield Problem.at((*path, *where), "not_a_schema", f"This is no JSON Schema: {shortened(error.message)}.")


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


def rules_in(schema: Mapping[str, Any]) -> int:
    """A schema that refers to itself, or to parts that refer to others often, is endless for some value. So is one
    here, as soon as it is deep."""
    return _rules(schema, schema, {}, 0)


def _rules(node: Mapping[str, Any], schema: Mapping[str, Any], known: dict[str, int], depth: int) -> int:
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
                if target is None:
                    known[reference] = 0
                elif depth < _DEEPEST_REFERENCES:
                    known[reference] = _rules(target, schema, known, depth + 1)
            total += known[reference]
        waiting += [member for _, member in _subschemas(rule)]
    return total
