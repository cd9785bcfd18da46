"""What can be told of a document without looking around in it: unknown fields, wrong types, what is out of range."""

from collections.abc import Iterator
from functools import cache
from typing import Any

from processor.language.definition import MOST_STEPS
from processor.language.json_schemas import Schema, Validator, compiled, problems
from processor.language.problems import Path, Problem
from processor.language.schema import inlined

_LONGEST = MOST_STEPS + 1  # of a list or an object: enough to tell that there is too much


def shape_problems(document: Any) -> Iterator[Problem]:
    """Step by step: who has seen enough problems can stop."""
    _, validator = _part("Definition")
    if validator.is_valid(document):
        return
    steps = document.get("steps") if isinstance(document, dict) else None
    if not isinstance(steps, dict):
        yield from _problems("Definition", document, ())
        return
    outline = {name: {} if isinstance(step, dict) else step for name, step in steps.items()}
    yield from _problems("Definition", {**document, "steps": outline}, ())
    for name, step in steps.items():
        if isinstance(step, dict):
            yield from _problems("Step", step, ("steps", name))


def _problems(part: str, value: Any, path: Path) -> Iterator[Problem]:
    schema, validator = _part(part)
    yield from problems(validator, schema, _cut(value), path)


@cache
def _part(name: str) -> tuple[Schema, Validator]:
    schema = inlined(name)
    return schema, compiled(schema)


def _cut(value: Any) -> Any:
    match value:
        case dict():
            return {name: _cut(member) for name, member in list(value.items())[:_LONGEST]}
        case list():
            return [_cut(item) for item in value[:_LONGEST]]
        case _:
            return value
