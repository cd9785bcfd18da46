"""A small clean as the API's pages show it, but for what was decided of most of the file."""

from typing import Any

from processor.cleaning.small_views import Cleaned, Listed, SmallAnswer

FILE = b"id,name,amount\n1, Ada ,1.5\n2,Bob,none\n"
OPTIONS: dict[str, Any] = {
    "recipe": {"version": 1, "rules": [{"rule": "trim"}, {"rule": "number", "columns": ["amount"]}]}
}
_NONE = Listed(0, [])
ANSWER = SmallAnswer(
    result={
        "rows": {"in": 2, "out": 1, "rejected": 1, "duplicates": 0},
        "rejects": {"not_number": 1},
        "changed_cells": 1,
        "changes": [{"rule": 0, "name": "trim", "column": "name", "cells": 1}],
        "findings": 0,
        "blank_lines": 0,
        "columns": [
            {"name": "id", "type": "VARCHAR"},
            {"name": "name", "type": "VARCHAR"},
            {"name": "amount", "type": "DOUBLE"},
        ],
        "decisions": {
            "encoding": {
                "value": "utf-8",
                "confidence": 1.0,
                "reason": "The file is plain ASCII.",
                "alternatives": [],
                "overridden": False,
            }
        },
        "recipe": OPTIONS["recipe"],
        "notes": [],
        "input": {"compression": [], "entry": None, "bytes": 38},
    },
    cleaned=Cleaned("csv", text="id,name,amount\n1,Ada,1.5\n"),
    rejects=Listed(
        1,
        [
            {
                "row": 2,
                "line": 3,
                "byte_offset": 27,
                "bytes": 11,
                "column": "amount",
                "reason": "not_number",
                "detail": "“none” is no number.",
                "rule": 1,
                "rule_name": "number",
                "text": "2,Bob,none\n",
            }
        ],
    ),
    duplicates=_NONE,
    changes=Listed(
        1,
        [
            {
                "row": 1,
                "line": 2,
                "column": "name",
                "before": " Ada ",
                "after": "Ada",
                "rule": 0,
                "rule_name": "trim",
            }
        ],
    ),
    findings=_NONE,
)
