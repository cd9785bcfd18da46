"""Events as AsyncAPI's messages: the envelope, and in it the payload of each type."""

from collections.abc import Mapping
from inspect import getdoc
from typing import Any

import msgspec
from pydantic.json_schema import models_json_schema

from events.catalog import Payload
from events.envelope import Event, RecordedEvent
from events.progress_frames import ProgressFrame, other_names
from events.steps import RemoteTask

Document = dict[str, Any]

FRAME = "frame"  # `frame.job.started` is how plain JSON progress says job.started
TASK = "task"

_SCHEMAS = "#/components/schemas/{name}"
_HEADERS = {
    "type": "object",
    "description": "Over AMQP.",
    "properties": {
        "epoch": {"type": "string", "format": "uuid", "description": "The log's identity: another one, another log."},
        "traceparent": {"type": "string", "description": "W3C Trace Context."},
    },
}


def components_of(told: Mapping[str, type[Payload]], taken: Mapping[str, type[Payload]]) -> Document:
    """The messages that Millrace tells of its log, and those that it takes."""
    payloads = [*told.values(), *taken.values()]
    references, parts = models_json_schema(
        [(payload, "validation") for payload in payloads], ref_template="#/components/schemas/{model}"
    )
    of = {payload: references[payload, "validation"] for payload in payloads}
    (envelope, recorded, head, task), structs = msgspec.json.schema_components(
        (Event, RecordedEvent, ProgressFrame, RemoteTask), ref_template=_SCHEMAS
    )
    messages: Document = {}
    for name, payload in told.items():
        messages[name] = _message(name, payload, {"allOf": [recorded, _saying(name, of[payload])]}) | {
            "headers": {"$ref": _SCHEMAS.format(name="Headers")}
        }
        if name.startswith("job."):
            spliced = {"allOf": [head, {"properties": {"type": {"const": name}}}, _beside(payload, of, parts)]}
            messages[f"{FRAME}.{name}"] = _message(name, payload, spliced)
    for name, payload in taken.items():
        messages[name] = _message(name, payload, {"allOf": [envelope, _saying(name, of[payload])]})
    messages[TASK] = {"name": TASK, "summary": getdoc(RemoteTask), "payload": task}
    schemas = parts["$defs"] | structs | {"Headers": _HEADERS}
    return {"messages": messages, "schemas": dict(sorted(schemas.items()))}


def _beside(payload: type[Payload], of: Mapping[type[Payload], Document], parts: Document) -> Document:
    """A payload as it is in a frame, where fields that are called as the envelope's have other names."""
    others = other_names(payload)
    if not others:
        return of[payload]
    said: Document = parts["$defs"][of[payload]["$ref"].rpartition("/")[2]]
    return said | {
        "properties": {others.get(name, name): field for name, field in said["properties"].items()},
        "required": [others.get(name, name) for name in said["required"]],
    }


def _saying(name: str, data: Document) -> Document:
    return {"type": "object", "properties": {"type": {"const": name}, "data": data}}


def _message(name: str, payload: type[Payload], schema: Document) -> Document:
    said = payload.__doc__
    return {"name": name, "title": name, "payload": schema} | ({"summary": getdoc(payload)} if said else {})
