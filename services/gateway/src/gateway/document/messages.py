"""Events as AsyncAPI's messages: the envelope, and in it the payload of each type."""

from collections.abc import Mapping
from inspect import getdoc
from typing import Any

import msgspec
from pydantic.json_schema import models_json_schema

from events.catalog import Payload
from events.envelope import Event, RecordedEvent
from events.steps import RemoteTask

Document = dict[str, Any]

FRAME = "frame"  # `frame.job.started` is how plain JSON progress says job.started
TASK = "task"

_SCHEMAS = "#/components/schemas/{name}"
_FRAME_HEAD = {
    "type": "object",
    "required": ["job_id", "type", "position", "version", "time"],
    "properties": {
        "job_id": {"type": "string", "format": "uuid"},
        "type": {"type": "string"},
        "position": {"type": "integer", "minimum": 1},
        "version": {"type": "integer", "minimum": 1},
        "time": {"type": "string", "format": "date-time"},
        "traceparent": {"type": "string"},
    },
}
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
    (_, _, task), structs = msgspec.json.schema_components((Event, RecordedEvent, RemoteTask), ref_template=_SCHEMAS)
    envelope, recorded = ({"$ref": _SCHEMAS.format(name=name)} for name in ("Event", "RecordedEvent"))
    head = {"$ref": _SCHEMAS.format(name="ProgressFrame")}
    messages: Document = {}
    for name, payload in told.items():
        messages[name] = _message(name, payload, {"allOf": [recorded, _saying(name, of[payload])]}) | {
            "headers": {"$ref": _SCHEMAS.format(name="Headers")}
        }
        if name.startswith("job."):
            spliced = {"allOf": [head, {"properties": {"type": {"const": name}}}, of[payload]]}
            messages[f"{FRAME}.{name}"] = _message(name, payload, spliced)
    for name, payload in taken.items():
        messages[name] = _message(name, payload, {"allOf": [envelope, _saying(name, of[payload])]})
    messages[TASK] = {"name": TASK, "summary": getdoc(RemoteTask), "payload": task}
    schemas = parts["$defs"] | structs | {"ProgressFrame": _FRAME_HEAD, "Headers": _HEADERS}
    return {"messages": messages, "schemas": dict(sorted(schemas.items()))}


def _saying(name: str, data: Document) -> Document:
    return {"type": "object", "properties": {"type": {"const": name}, "data": data}}


def _message(name: str, payload: type[Payload], schema: Document) -> Document:
    said = payload.__doc__
    return {"name": name, "title": name, "payload": schema} | ({"summary": getdoc(payload)} if said else {})
