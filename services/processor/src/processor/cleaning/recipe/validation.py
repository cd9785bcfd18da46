"""Everything that is wrong with a recipe's document, each with its place."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any

import msgspec

from processor.cleaning.recipe.document import MOST_RULES, Recipe
from processor.cleaning.recipe.rules.table import RULES
from processor.cleaning.recipe.schema import of_outline, of_rule
from processor.language.json_schemas import Schema, Validator, compiled, kind, problems
from processor.language.problems import Path, Problem, did_you_mean, shortened

_MOST_PROBLEMS = 200


@dataclass(frozen=True, slots=True)
class Verdict:
    recipe: Recipe | None  # None if there are problems
    problems: tuple[Problem, ...]


def validate(document: Any) -> Verdict:
    """What can be told without a table: see `compiling.py` for the rest."""
    found = tuple(islice(_shape(document), _MOST_PROBLEMS))
    if found:
        return Verdict(None, found)
    recipe = msgspec.convert(document, Recipe)
    found = tuple(islice(_sense(recipe), _MOST_PROBLEMS))
    return Verdict(None if found else recipe, found)


def _shape(document: Any) -> Iterator[Problem]:
    rules = document.get("rules") if isinstance(document, dict) else None
    outline = document
    if isinstance(rules, list):
        outline = {**document, "rules": [{} if isinstance(rule, dict) else rule for rule in rules[: MOST_RULES + 1]]}
    schema, validator = _outline()
    yield from problems(validator, schema, outline, ())
    for at, rule in enumerate(rules[:MOST_RULES] if isinstance(rules, list) else ()):
        if isinstance(rule, dict):
            yield from _rule(rule, ("rules", at))
    yield from _nuls(document, ())


def _rule(rule: dict[str, Any], path: Path) -> Iterator[Problem]:
    name = rule.get("rule")
    there: Path = (*path, "rule")
    if "rule" not in rule:
        yield Problem.at(there, "missing", "rule must be given.")
    elif not isinstance(name, str):
        yield Problem.at(there, "wrong_type", f"This must be a text, not {kind(name)}.")
    elif name not in RULES:
        detail = f"There is no rule {shortened(name)}.{did_you_mean(name, RULES)}"
        yield Problem.at(there, "unknown_rule", detail)
    else:
        schema, validator = _schema(name)
        yield from problems(validator, schema, rule, path)


def _sense(recipe: Recipe) -> Iterator[Problem]:
    for at, rule in enumerate(recipe.rules):
        for wrong in rule.check():
            yield Problem.at(("rules", at, *wrong.path), wrong.code, wrong.detail)
    output = recipe.output
    if output.delimiter in '"\r\n' or ord(output.delimiter) > 127:
        yield Problem.at(("output", "delimiter"), "not_a_delimiter", f"{output.delimiter!r} cannot be between cells.")
    if any(sign in output.null for sign in (output.delimiter, '"', "\r", "\n")):
        detail = "What stands for null may have no delimiter, no quote and no line end in it."
        yield Problem.at(("output", "null"), "not_a_null", detail)


def _nuls(node: Any, path: Path) -> Iterator[Problem]:
    match node:
        case str() if "\0" in node:
            yield Problem.at(path, "nul", "A recipe may not have a NUL character in it.")
        case dict():
            for name, member in node.items():
                if "\0" in name:
                    yield Problem.at(path, "nul", "A recipe may not have a NUL character in a name.")
                yield from _nuls(member, (*path, name))
        case list():
            for at, item in enumerate(node):
                yield from _nuls(item, (*path, at))


@cache
def _outline() -> tuple[Schema, Validator]:
    schema = of_outline()
    return schema, compiled(schema)


@cache
def _schema(name: str) -> tuple[Schema, Validator]:
    schema = of_rule(name)
    return schema, compiled(schema)
