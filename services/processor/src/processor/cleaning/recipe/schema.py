"""The JSON Schema of recipes, made from the structs."""

from collections.abc import Mapping
from typing import Any

import msgspec

from processor.cleaning.recipe.document import Output, Recipe
from processor.cleaning.recipe.rules.table import RULES
from processor.language.json_schemas import DIALECT, without_marks


def published() -> dict[str, Any]:
    """For editors. `validate` refuses all that it refuses, and more."""
    parts = _parts()
    recipe = parts.pop("Recipe")
    names = {rule.__name__: name for name, rule in RULES.items()}
    defined = {names.get(part, part): schema for part, schema in parts.items()}
    whole = {"$schema": DIALECT, "title": "A recipe of Millrace", **recipe, "$defs": defined}
    renamed: dict[str, Any] = without_marks(_renamed(whole, names))
    renamed["properties"]["rules"]["items"] = _chosen(list(RULES))
    return renamed


def of_rule(name: str) -> dict[str, Any]:
    """Without references, so that each error's place in the schema is where it says."""
    parts = _parts()
    inlined: dict[str, Any] = _inlined(parts[RULES[name].__name__], parts)
    return inlined


def of_outline() -> dict[str, Any]:
    """Of all but the rules, which have schemas of their own."""
    parts = _parts()
    recipe: dict[str, Any] = dict(parts["Recipe"])
    properties = dict(recipe["properties"])
    properties["rules"] = properties["rules"] | {"items": {"type": "object"}}
    outline: dict[str, Any] = _inlined(recipe | {"properties": properties}, parts)
    return outline


def _parts() -> dict[str, dict[str, Any]]:
    _, parts = msgspec.json.schema_components([Recipe, Output, *RULES.values()], ref_template="#/$defs/{name}")
    return {name: _adapted(part) for name, part in parts.items()}


def _chosen(names: list[str]) -> dict[str, Any]:
    """By `rule`: an editor then tells what is wrong with that rule, and not with each of the others too."""
    return {
        "type": "object",
        "required": ["rule"],
        "properties": {"rule": {"enum": names}},
        "allOf": [
            {
                "if": {"properties": {"rule": {"const": name}}, "required": ["rule"]},
                "then": {"$ref": f"#/$defs/{name}"},
            }
            for name in names
        ],
    }


def _adapted(node: Any) -> Any:
    """What may be left out need not be null."""
    match node:
        case {"anyOf": [one, {"type": "null"}], "default": None, **rest}:
            return _adapted(rest | one)
        case dict():
            adapted = {name: _adapted(member) for name, member in node.items()}
            return {
                name: member
                for name, member in adapted.items()
                if not (name == "default" and member in (None, {}, []))
                and not (name == "title" and isinstance(member, str))  # the name of a struct
            }
        case list() | tuple():
            return [_adapted(member) for member in node]
        case str():
            return " ".join(node.split()) if "\n" in node.strip() else node  # descriptions of more than one line
        case _:
            return node


def _inlined(node: Any, parts: Mapping[str, Any]) -> Any:
    match node:
        case {"$ref": str() as reference, **rest}:
            return _inlined(parts[reference.removeprefix("#/$defs/")] | rest, parts)
        case dict():
            return {name: _inlined(member, parts) for name, member in node.items()}
        case list():
            return [_inlined(member, parts) for member in node]
        case _:
            return node


def _renamed(node: Any, names: Mapping[str, str]) -> Any:
    match node:
        case {"$ref": str() as reference, **rest}:
            part = reference.removeprefix("#/$defs/")
            return {"$ref": f"#/$defs/{names.get(part, part)}", **rest}
        case dict():
            return {name: _renamed(member, names) for name, member in node.items()}
        case list():
            return [_renamed(member, names) for member in node]
        case _:
            return node
