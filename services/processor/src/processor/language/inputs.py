"""A workflow's inputs: what a job is given for them, against their schemas."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from processor.language.definition import Definition
from processor.language.input_schemas import rules_in, schema_problems
from processor.language.json_schemas import Validator, compiled, problems
from processor.language.problems import Path, Problem, did_you_mean, place, shortened
from processor.language.values import unsound

_LARGEST_TOLD = 1 << 15  # bytes of a list or an object: each of its parts may be wrong
_MOST_COPIED = 5_000_000  # bytes

_MOST_RULES = 1_000  # of all inputs

Inputs = Mapping[str, Mapping[str, Any]]


def check_inputs(
    definition: Definition, given: Mapping[str, Any], path: Path = ()
) -> tuple[dict[str, Any], list[Problem]]:
    """What a job begins with: what it is given, and the defaults of the rest. `path` is where that was given."""
    found = [Problem(_within(path, problem.place), problem.code, problem.detail) for problem in unsound(dict(given))]
    if found:
        return {}, found
    found += names_problems(definition.inputs, given, path)
    for name, schema in definition.inputs.items():
        if name in given:
            found += value_problems(compiled(schema), schema, given[name], (*path, name))
    defaults = {name: schema["default"] for name, schema in definition.inputs.items() if "default" in schema}
    return defaults | dict(given), found


def inputs_problems(inputs: Inputs, path: Path) -> Iterator[Problem]:
    """Of the inputs that a workflow declares."""
    total = 0
    for name, schema in inputs.items():
        wrong = [*schema_problems(schema, (*path, name))]
        yield from wrong
        if not wrong:
            total += rules_in(schema)
            if "default" in schema:
                yield from value_problems(compiled(schema), schema, schema["default"], (*path, name, "default"))
    if total > _MOST_RULES:
        yield Problem.at(path, "too_complex", f"The schemas of all inputs may have {_MOST_RULES} parts.")


def names_problems(inputs: Inputs, given: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    for name in given:
        if name not in inputs:
            detail = f"There is no input {shortened(name)}.{did_you_mean(name, inputs)}"
            yield Problem.at((*path, name), "unknown_input", detail)
    for name, schema in inputs.items():
        if name not in given and "default" not in schema:
            yield Problem.at((*path, name), "missing", f"The input {name} must be given: it has no default.")


def value_problems(validator: Validator, schema: Mapping[str, Any], value: Any, path: Path) -> Iterator[Problem]:
    if may_be_told(schema, value):
        yield from problems(validator, schema, value, path)
    elif not validator.is_valid(value):
        yield Problem.at(path, "not_valid", "This does not fit its schema, and is too large to tell where.")


def may_be_told(schema: Mapping[str, Any], value: Any) -> bool:
    """Others have written both, and errors have copies of what they are about."""
    size = len(msgspec.json.encode(value))
    copies = rules_in(schema) * (size if b'"propertyNames"' in msgspec.json.encode(schema) else 1)
    has_parts = isinstance(value, dict | list)
    return size * copies <= _MOST_COPIED and (size <= _LARGEST_TOLD or not has_parts)


def _within(path: Path, inner: str) -> str:
    outer = place(path)
    return f"{outer}{'.' if outer and inner and not inner.startswith('[') else ''}{inner}"
