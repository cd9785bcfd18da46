"""What a step is given, against the schema of what it takes. Expressions are holes: what is around them is checked, and
of one that is a plain reference, whether what it refers to can fit."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jsonschema_rs

from processor.language.expressions import ExpressionError, Template
from processor.language.json_schemas import MOST_ERRORS, Schema, told
from processor.language.problems import Path, Problem
from processor.language.scopes import DeadEnd, Scope, misfit, reference_problems, walk

# What is true of an object or of a list whatever its holes are filled with.
_CERTAIN = frozenset(
    {
        "additionalProperties", "dependentRequired", "falseSchema", "maxItems", "maxProperties", "minItems",
        "minProperties", "propertyNames", "required", "type", "unevaluatedProperties",
    }
)  # fmt: skip

Holes = Mapping[Path, Template | None]  # by where they are in the value; None for one that cannot be read


def expressions_in(value: Any, path: Path, seen: Scope, found: list[Problem]) -> Holes:
    """Each text with expressions in it; what is wrong with them is added to what was found."""
    holes: dict[Path, Template | None] = {}
    waiting: list[tuple[Path, Any]] = [((), value)]
    while waiting and len(found) < MOST_ERRORS:
        where, one = waiting.pop()
        match one:
            case str() if "${{" in one:
                holes[where] = _read(one, (*path, *where), seen, found)
            case dict():
                waiting.extend(((*where, name), member) for name, member in one.items())
            case list():
                waiting.extend(
                    ((*where, number), item) for number, item in enumerate(one) if isinstance(item, str | dict | list)
                )
    return holes


def _read(text: str, path: Path, seen: Scope, found: list[Problem]) -> Template | None:
    try:
        template = Template.parse(text)
    except ExpressionError as wrong:
        found.append(Problem.at(path, wrong.code, wrong.detail))
        return None
    for expression in template.expressions:
        found += reference_problems(expression, seen, path)
    return template


def misfits(
    found: Iterable[jsonschema_rs.ValidationError], holes: Holes, schema: Schema, path: Path, seen: Scope
) -> Iterator[Problem]:
    """What of the errors found is wrong whatever the holes are filled with, and what they cannot be filled with."""
    around = {hole[:depth] for hole in holes for depth in range(len(hole))}
    for error in found:
        where = tuple(error.instance_path)
        if where in holes:
            template = holes[where]
            certain = template is not None and template.whole is None and error.kind.name == "type"
        else:
            certain = where not in around or error.kind.name in _CERTAIN
        if certain:
            yield from told(error, schema, path)
    for where, template in holes.items():
        wanted = walk(schema, where)
        if template is None or isinstance(wanted, DeadEnd):
            continue
        detail = misfit_of(template, wanted, seen)
        if detail is not None:
            yield Problem.at((*path, *where), "wrong_type", detail)


def misfit_of(template: Template, wanted: Schema, seen: Scope) -> str | None:
    whole = template.whole
    if whole is None or whole.path is None:
        return None
    given = walk(seen.schema, whole.path)
    return None if isinstance(given, DeadEnd) else misfit(given, wanted)
