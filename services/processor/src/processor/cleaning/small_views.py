"""What `POST /clean` can be asked for, and what it answers. The service imports this: nothing of DuckDB is here."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

STEP = "csv-clean-small"

# The file that the step leaves, by what the client wants.
ANSWERS: Mapping[str, str] = MappingProxyType(
    {
        "application/json": "answer.json",
        "text/csv": "cleaned.csv",
        "application/x-ndjson": "cleaned.jsonl",
        "application/jsonl": "cleaned.jsonl",
        "application/vnd.apache.parquet": "cleaned.parquet",
        "application/zip": "cleaned.zip",
    }
)


class SmallWish(msgspec.Struct, frozen=True):
    """What the step is asked."""

    clean: dict[str, Any]  # of the client
    answer: str  # a file of ANSWERS
    listed: int  # entries of each list in the answer, at most
    entry: Any = None  # the client's, where `open_input` looks for it


class Cleaned(msgspec.Struct, frozen=True, omit_defaults=True):
    format: str  # csv, jsonl or parquet
    text: str | None = None
    base64: str | None = None  # if it is no text


class Listed(msgspec.Struct, frozen=True):
    """The first entries of a log, as it has them, and how many there are."""

    count: int
    items: list[dict[str, Any]]


class SmallAnswer(msgspec.Struct, frozen=True):
    result: dict[str, Any]
    cleaned: Cleaned
    rejects: Listed
    duplicates: Listed
    changes: Listed
    findings: Listed
