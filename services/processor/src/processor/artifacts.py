"""What an artifact of a job is: a file by its name."""

import re
from collections.abc import Mapping
from types import MappingProxyType

from events.jobs import Artifact

NAME_PATTERN = r"^[A-Za-z0-9._-]{1,100}$"
_NAME = re.compile(NAME_PATTERN)

# Of all others, what they are is not told. A text's encoding is not known: it may be as it was sent to us.
_CONTENT_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "csv": "text/csv",
        "html": "text/html",
        "json": "application/json",
        "jsonl": "application/jsonl",
        "parquet": "application/vnd.apache.parquet",
        "txt": "text/plain",
    }
)


def is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def artifact_of(name: str, blob: str, size: int) -> Artifact:
    _, _, ending = name.rpartition(".")
    return Artifact(
        name=name, blob=blob, bytes=size, content_type=_CONTENT_TYPES.get(ending, "application/octet-stream")
    )
