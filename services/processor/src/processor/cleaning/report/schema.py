"""The JSON Schema of report.json, made from the structs."""

from typing import Any

import msgspec

from processor.cleaning.report.document import VERSION, Report
from processor.language.json_schemas import DIALECT


def published() -> dict[str, Any]:
    _, parts = msgspec.json.schema_components([Report], ref_template="#/$defs/{name}")
    adapted: dict[str, Any] = {name: _adapted(part) for name, part in parts.items()}
    report = adapted.pop("Report")
    report["properties"]["version"] = {"const": VERSION}
    return {"$schema": DIALECT, "title": "A report of a clean by Millrace", **report, "$defs": adapted}


def _adapted(node: Any) -> Any:
    """A description may be of several lines in the source."""
    match node:
        case dict():
            return {name: _adapted(member) for name, member in node.items()}
        case list() | tuple():
            return [_adapted(member) for member in node]
        case str():
            return " ".join(node.split())
        case _:
            return node
