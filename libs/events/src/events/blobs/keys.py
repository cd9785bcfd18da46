"""Whose a blob is, as its key says: `uploads/<tenant>/…`, `results/<tenant>/<job>/…`.

What the steps of a job leave lies below `artifacts/<tenant>/<job>/`, and what is only for its later steps below
`staged/<tenant>/<job>/`."""

import re
from uuid import UUID

from events.blobs.local import PARTIAL

SEGMENTS = "segments"  # of what is still being sent
ARTIFACTS = "artifacts"
STAGED = "staged"

# No segment that a file system, an object store or a URL could read in another way than we do.
_SEGMENT = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,200}")


def belongs_to(key: str, tenant: str) -> bool:
    """Whether it is the key of a blob of that tenant. What is still being written is not a blob."""
    kind, *rest = key.split("/")
    return (
        kind != SEGMENTS
        and len(rest) >= 2
        and rest[0] == tenant
        and all(_SEGMENT.fullmatch(segment) for segment in (kind, *rest))
        and not key.endswith(PARTIAL)
    )


def folder_of_job(kind: str, tenant: str, job_id: UUID) -> str:
    return f"{kind}/{tenant}/{job_id}"


def segment_of(key: str) -> str:
    """The segment that a key in the store belongs to: in an object store it is a row of objects."""
    return "/".join(key.split("/")[:3])
