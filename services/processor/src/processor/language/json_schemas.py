"""JSON Schema 2020-12, by a library whose regular expressions take linear time, and never from the network."""

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import islice
from typing import Any

import jsonschema_rs

from processor.language.problems import Path, Problem, did_you_mean, shortened

Schema = Mapping[str, Any]
Validator = jsonschema_rs.Draft202012Validator

DIALECT = "https://json-schema.org/draft/2020-12/schema"
MOST_ERRORS = 1_000

# What one pattern may take when it is compiled, in bytes.
_PATTERNS = jsonschema_rs.RegexOptions(size_limit=1 << 18, dfa_size_limit=1 << 18)

TYPES = {
    "array": "a list",
    "object": "an object",
    "string": "a text",
    "integer": "a whole number",
    "null": "null",
    "boolean": "true or false",
    "number": "a number",
}


def compiled(schema: Schema) -> Validator:
    return Validator(dict(schema), pattern_options=_PATTERNS, validate_formats=False, offline=True)


@cache
def of_schemas() -> Validator:
    return compiled({"$ref": DIALECT})


def errors(validator: Validator, value: Any) -> Iterator[jsonschema_rs.ValidationError]:
    """Each carries a copy of what it is about, and all are made at once: whoever lets others choose both the schema and
    the value must look at their size first."""
    return iter(()) if validator.is_valid(value) else islice(validator.iter_errors(value), MOST_ERRORS)


def problems(validator: Validator, schema: Schema, value: Any, path: Path) -> Iterator[Problem]:
    for error in errors(validator, value):
        yield from told(error, schema, path)


def told(error: jsonschema_rs.ValidationError, schema: Schema, path: Path) -> Iterator[Problem]:
    """Each unknown and each missing member has a problem and a place of its own."""
    there: Path = (*path, *error.instance_path)
    rule = _rule(schema, error.schema_path)
    match error.kind.as_dict() | {"keyword": error.kind.name}:
        case {"keyword": "required", "property": name}:
            yield Problem.at((*there, name), "missing", f"{shortened(name)} must be given.")
        case {"keyword": "additionalProperties", "unexpected": names}:
            for name in names:
                yield _unknown(there, name, rule)
        case {"keyword": "falseSchema"} if error.schema_path[-1:] == ["additionalProperties"]:
            for name in error.instance if isinstance(error.instance, dict) else ():
                yield _unknown(there, name, rule)
        case {"keyword": "type", "types": types}:
            wanted = " or ".join(TYPES.get(name, name) for name in sorted(types))
            yield Problem.at(there, "wrong_type", f"This must be {wanted}, not {kind(error.instance)}.")
        case {"keyword": "enum", "options": options}:
            there_are = ", ".join(shortened(str(option)) for option in options[:12])
            yield Problem.at(
                there, "not_one_of", f"This must be one of: {there_are}{' …' if len(options) > 12 else ''}."
            )
        case {"keyword": "pattern", "pattern": pattern}:
            says = rule.get("x-says") or f"text that matches {shortened(pattern)}"
            yield Problem.at(there, "wrong_form", f"{_quoted(error.instance)} is not of the right form: {says}.")
        case {"keyword": "propertyNames", "error": wrong}:
            detail = f"{_quoted(wrong.instance)} is no name that the schema allows."
            yield Problem.at((*there, str(wrong.instance)), "wrong_name", detail)
        case {"keyword": "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" as keyword, "limit": limit}:
            yield Problem.at(there, "out_of_range", f"This must be {_BOUNDS[keyword]} {limit:.16g}.")
        case {"keyword": "minItems" | "minLength" | "minProperties", "limit": limit}:
            yield Problem.at(there, "too_short", f"This must have at least {_parts(limit, error.instance)}.")
        case {"keyword": "maxItems" | "maxLength" | "maxProperties", "limit": limit}:
            yield Problem.at(there, "too_long", f"This may have at most {_parts(limit, error.instance)}.")
        case {"keyword": "uniqueItems"}:
            yield Problem.at(there, "duplicate", "The same item is in this list twice.")
        case {"keyword": keyword}:
            yield Problem.at(there, "not_valid", f"This does not fit the schema's {keyword}.")


_BOUNDS = {"minimum": "at least", "maximum": "at most", "exclusiveMinimum": "above", "exclusiveMaximum": "below"}


def kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case dict():
            return "an object"
        case _:
            return "a list"


def _parts(limit: int, value: Any) -> str:
    part = "character" if isinstance(value, str) else "item" if isinstance(value, list) else "member"
    return f"{limit} {part}{'' if limit == 1 else 's'}"


def _quoted(value: Any) -> str:
    return f"{shortened(str(value))!r}"


def _unknown(there: Path, name: str, rule: Schema) -> Problem:
    hint = did_you_mean(name, rule.get("properties", {}))
    return Problem.at((*there, name), "unknown_field", f"{shortened(name)} is not known here.{hint}")


def _rule(schema: Schema, schema_path: list[str | int]) -> Schema:
    """The part of the schema whose keyword was broken."""
    rule: Any = schema
    for part in schema_path[:-1]:
        try:
            rule = rule[part]
        except (KeyError, IndexError, TypeError):
            return {}
    return rule if isinstance(rule, Mapping) else {}


def without_marks(node: Any) -> Any:
    """A schema as it is published: what it says to our own messages is not in it."""
    match node:
        case dict():
            return {name: without_marks(member) for name, member in node.items() if not str(name).startswith("x-")}
        case list():
            return [without_marks(member) for member in node]
        case _:
            return node
