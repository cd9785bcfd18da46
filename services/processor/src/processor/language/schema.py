"""The JSON Schema of a workflow's document, made from the structs and the table of handlers."""

from collections.abc import Mapping
from typing import Any

import msgspec

from processor.handlers import HANDLERS, Handler
from processor.language import durations
from processor.language.definition import QUEUE_PATTERN, REMOTE, Definition
from processor.language.json_schemas import DIALECT, without_marks

_EXPRESSION = {"type": "string", "pattern": r"\$\{\{"}
_STRUCTS = ("Definition", "Step", "Action", "Wait", "Map", "Retry", "Concurrency")
_KINDS = ("uses", "workflow", "wait")
_WAITS = ("timer", "until", "signal", "approval")


def inlined(part: str) -> dict[str, Any]:
    """Of a struct. Without references, so that each error's place in the schema is where it says, and without names:
    each wrong one would carry a copy of all that have one."""
    parts = _parts()
    whole: dict[str, Any] = _inlined(parts[part], parts)
    for member in whole["properties"].values():
        member.pop("propertyNames", None)
    return whole


def published(handlers: Mapping[str, Handler] = HANDLERS) -> dict[str, Any]:
    """For editors: it names the handlers and their parameters, and what excludes what. `validate` refuses all that it
    refuses, and more."""
    parts = {name: without_marks(part) for name, part in _parts().items()}
    definition = parts.pop("Definition")
    given = [
        {
            "if": {"properties": {"uses": {"const": handler.name}}, "required": ["uses"]},
            "then": {"properties": {"with": _with_holes(handler.parameters)}}
            | ({"required": ["with"]} if handler.parameters.get("required") else {}),
        }
        for handler in handlers.values()
    ]
    for name in ("Action", "Step"):
        uses = parts[name]["properties"]["uses"]
        parts[name]["properties"]["uses"] = {
            "description": uses["description"],
            "anyOf": [{"const": handler.name, "description": handler.title} for handler in handlers.values()]
            + [
                {
                    "type": "string",
                    "pattern": f"^{REMOTE}{QUEUE_PATTERN[1:]}",
                    "description": "A remote worker's queue.",
                }
            ],
        }
        parts[name] |= {"oneOf": [{"required": [kind]} for kind in _KINDS], "allOf": given}
    parts["Wait"] |= {"oneOf": [{"required": [wait]} for wait in _WAITS]}
    return {"$schema": DIALECT, "title": "A workflow of Millrace", **definition, "$defs": parts}


def _parts() -> dict[str, dict[str, Any]]:
    _, parts = msgspec.json.schema_components([Definition], ref_template="#/$defs/{name}")
    return {name: _adapted(part) for name, part in parts.items()}


def _adapted(node: Any) -> Any:
    """From what a `Definition` holds to what a document may say. What may be left out need not be null."""
    match node:
        case {"anyOf": [one, {"type": "null"}], **_rest}:
            return _adapted(one)
        case {"x-duration": True, **rest}:
            text = {"type": ["number", "string"], "minLength": 1, "pattern": durations.PATTERN}
            return rest | text | {"x-says": "seconds, or a text such as 30s, 5m, 1h30m or 1d"}
        case {"x-condition": True, **rest}:
            return rest | {"type": ["string", "boolean"]}
        case dict():
            adapted = {name: _adapted(member) for name, member in node.items()}
            return {
                name: member
                for name, member in adapted.items()
                if not (name == "default" and member in (None, {}, [], ()))
                and not (name == "title" and member in _STRUCTS)
            }
        case list():
            return [_adapted(member) for member in node]
        case str():
            return " ".join(node.split())  # descriptions of more than one line
        case _:
            return node


def _inlined(node: Any, parts: Mapping[str, Any]) -> Any:
    match node:
        case {"$ref": str() as reference}:
            return _inlined(parts[reference.removeprefix("#/$defs/")], parts)
        case dict():
            return {name: _inlined(member, parts) for name, member in node.items()}
        case list():
            return [_inlined(member, parts) for member in node]
        case _:
            return node


def _with_holes(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Wherever a parameter stands, an expression may stand instead."""
    loose = dict(schema)
    if "properties" in schema:
        loose["properties"] = {
            name: {"anyOf": [_EXPRESSION, _with_holes(member)]} if member else {}
            for name, member in schema["properties"].items()
        }
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), Mapping):
            loose[keyword] = {"anyOf": [_EXPRESSION, _with_holes(schema[keyword])]}
    return loose
