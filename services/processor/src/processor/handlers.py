"""What a step may use: the table of handlers, with what each is given and what it gives.

Where the code of a handler lies is another matter: what computes runs in a process of its own (`steps.py`), what talks
to others runs on the service's loop (`builtin/`), and what only waits is the engine's (`workflows/`)."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import msgspec


class Runs(StrEnum):
    HERE = "here"
    PROCESS = "process"
    WAIT = "wait"


class Handler(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    version: int  # raised when the same parameters would give something else
    runs: Runs
    title: str
    parameters: Mapping[str, Any]  # JSON Schema of its `with`
    output: Mapping[str, Any]  # JSON Schema of what it gives


def _object(*required: str, **properties: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


_ANYTHING: Mapping[str, Any] = {}
_TEXT = {"type": "string"}
_BLOB = {"type": "string", "description": "The key of a blob of the job's tenant."}
_BLOB_OR_NONE = {**_BLOB, "type": ["string", "null"]}
_BLOBS = {"type": "array", "items": _BLOB}
_RANGE = {
    "type": "array",
    "items": {"type": "integer", "minimum": 0},
    "minItems": 2,
    "maxItems": 2,
    "description": "From which byte of the blob, and up to which, the step reads.",
}
_OBJECT: Mapping[str, Any] = {"type": "object"}
_ENTRY = {"type": "string", "description": "Which file of a zip is meant."}
_READING = {"type": "object", "description": "What is known of the file already, so that it need not be decided."}

HANDLERS: Mapping[str, Handler] = MappingProxyType(
    {
        handler.name: handler
        for handler in (
            Handler(
                name="csv-profile",
                version=2,
                runs=Runs.PROCESS,
                title="Count rows, and for each column find its type, its missing and its distinct values",
                parameters=_object(
                    "blob",
                    blob=_BLOB,
                    options={
                        "type": "object",
                        "properties": {"entry": {"type": "string", "description": "Which file of a zip is meant."}},
                    },
                ),
                output={
                    "type": "object",
                    "properties": {
                        "rows": {"type": "integer"},
                        "columns": {"type": "array"},
                        "input": _object(
                            "compression",
                            "entry",
                            "bytes",
                            compression={"type": "array", "items": {"enum": ["gzip", "zstd", "zip"]}},
                            entry={"type": ["string", "null"]},
                            bytes={"type": "integer"},
                        ),
                    },
                },
            ),
            Handler(
                name="csv-suggest",
                version=1,
                runs=Runs.PROCESS,
                title="Propose a recipe, each rule with its reason and the cells that it would change",
                parameters=_object(
                    "blob",
                    blob=_BLOB,
                    options={
                        "type": "object",
                        "properties": {
                            "most_rejects": {
                                "type": "number",
                                "minimum": 0,
                                "maximum": 1,
                                "default": 0.01,
                                "description": "The share of the rows that all rules together may reject.",
                            },
                            "sample": {
                                "type": "integer",
                                "minimum": 100,
                                "maximum": 1_000_000,
                                "default": 20_000,
                                "description": "Rows that are looked at to have ideas; all rows are counted.",
                            },
                            "reading": _READING,
                            "entry": _ENTRY,
                        },
                    },
                ),
                output=_object(
                    "recipe",
                    "rules",
                    "rows",
                    "rejects",
                    "changed_cells",
                    "questions",
                    "decisions",
                    "input",
                    "notes",
                    recipe={"type": "object", "description": "As /api/v1/recipes/schema has it."},
                    rules={"type": "array"},
                    rows={"type": "object"},
                    rejects={"type": "object"},
                    changed_cells={"type": "integer"},
                    questions={"type": "array"},
                    decisions={"type": "object"},
                    input={"type": "object"},
                    notes={"type": "array", "items": _TEXT},
                ),
            ),
            Handler(
                name="csv-survey",
                version=1,
                runs=Runs.PROCESS,
                title="Decide what a CSV file is, and cut it into parts that can be cleaned by themselves",
                parameters=_object("blob", blob=_BLOB, blobs=_BLOBS, options=_OBJECT),
                output=_OBJECT,
            ),
            Handler(
                name="csv-part",
                version=1,
                runs=Runs.PROCESS,
                title="Clean a part of a CSV file",
                parameters=_object("blob", "range", "options", blob=_BLOB, range=_RANGE, options=_OBJECT),
                output=_OBJECT,
            ),
            Handler(
                name="csv-whole",
                version=1,
                runs=Runs.PROCESS,
                title="Make one table of the cleaned parts of a CSV file, by the rules that need all rows",
                parameters=_object("blobs", "options", blob=_BLOB_OR_NONE, blobs=_BLOBS, options=_OBJECT),
                output=_OBJECT,
            ),
            Handler(
                name="csv-preview",
                version=1,
                runs=Runs.PROCESS,
                title="Show what a recipe makes of some records, cell by cell",
                parameters=_object(
                    "blob",
                    "options",
                    blob=_BLOB,
                    blobs=_BLOBS,
                    options={
                        "type": "object",
                        "required": ["recipe"],
                        "properties": {
                            "tables": {"type": "object", "description": "Blobs of other files, as rules call them."},
                            "recipe": {"type": "object", "description": "As /api/v1/recipes/schema has it."},
                            "rows": {"type": "integer", "minimum": 1, "maximum": 10_000, "default": 100},
                            "spread": {"type": "boolean", "description": "Of the whole file, not of its beginning."},
                            "reading": _READING,
                            "entry": _ENTRY,
                        },
                    },
                ),
                output=_object(
                    "sample",
                    "rows",
                    "columns",
                    "cleaned",
                    "changes",
                    "rejects",
                    "duplicates",
                    "findings",
                    "rules",
                    "decisions",
                    "input",
                    "notes",
                    sample={"type": "object"},
                    rows={"type": "object"},
                    columns={"type": "array"},
                    cleaned={"type": "array"},
                    changes={"type": "array"},
                    rejects={"type": "array"},
                    duplicates={"type": "array"},
                    findings={"type": "array"},
                    rules={"type": "array"},
                    decisions={"type": "object"},
                    input={"type": "object"},
                    notes={"type": "array", "items": _TEXT},
                ),
            ),
            Handler(
                name="noop",
                version=1,
                runs=Runs.HERE,
                title="Give back what it is given",
                parameters={"type": "object"},
                output={"type": "object"},
            ),
            Handler(
                name="emit",
                version=1,
                runs=Runs.HERE,
                title="Say something in the job's stream, for whoever listens",
                parameters=_object("data", data={"type": "object"}),
                output=_object(),
            ),
            Handler(
                name="http.call",
                version=1,
                runs=Runs.HERE,
                title="Ask a host that the operator allows",
                parameters=_object(
                    "url",
                    url=_TEXT,
                    method={"enum": ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"], "default": "GET"},
                    headers={"type": "object", "additionalProperties": _TEXT},
                    body=_ANYTHING,  # a text as it is, anything else as JSON
                    expect={"type": "array", "items": {"type": "integer", "minimum": 100, "maximum": 599}},
                ),
                output=_object(
                    "status",
                    status={"type": "integer"},
                    headers={"type": "object", "additionalProperties": _TEXT},
                    body=_ANYTHING,
                ),
            ),
            Handler(
                name="blob.copy",
                version=1,
                runs=Runs.HERE,
                title="Keep a copy of a blob as one of the job's artifacts",
                parameters=_object(
                    "blob", "name", blob=_BLOB, name={"type": "string", "pattern": "^[A-Za-z0-9._-]{1,100}$"}
                ),
                output=_object("blob", "bytes", blob=_BLOB, bytes={"type": "integer"}),
            ),
            Handler(
                name="sleep",
                version=1,
                runs=Runs.WAIT,
                title="Wait for so many seconds; a restart does not begin them anew",
                parameters=_object("seconds", seconds={"type": "number", "minimum": 0, "maximum": 31_622_400}),
                output=_object(),
            ),
            Handler(
                name="approve",
                version=1,
                runs=Runs.WAIT,
                title="Wait until somebody says yes; a no fails the step",
                parameters=_object("question", question=_TEXT),
                output=_object(
                    "approved", approved={"type": "boolean"}, by=_TEXT, comment={"type": ["string", "null"]}
                ),
            ),
        )
    }
)


def missing_handlers(wanted: Mapping[str, int]) -> list[str]:
    """Those that a job needs, and that are not known here in the version that it was made for."""
    return sorted(
        f"{name}@{version}"
        for name, version in wanted.items()
        if name not in HANDLERS or HANDLERS[name].version != version
    )
