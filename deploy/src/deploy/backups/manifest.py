"""What is in a backup.

manifest.json  this, written last
database.dump  by pg_dump, in its custom format: log, projections, keys, outboxes, all as of one moment
blobs.jsonl    a line for each blob: its key, its bytes, its SHA-256 if it was copied; this has the list's own
blobs/         the copies
secrets.json   what opens that which is sealed in the database; mode 600, and only of `make run` and `make stack`
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from events.errors import StartupError

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Manifest:
    made_at: str
    millrace: str  # the release
    postgres: str  # the server's version
    epoch: str
    head: int
    revisions: Mapping[str, str]  # by schema
    dump_bytes: int
    dump_sha256: str
    store: str  # where the blobs were, `folder` for a local one
    blobs: int
    blobs_sha256: str  # of blobs.jsonl
    blob_bytes: int
    blobs_copied: bool
    blobs_gone: int  # that were deleted while we copied
    key_pepper: str | None  # its fingerprint: the keys in the database need this one
    format: int = FORMAT

    def save(self, folder: Path) -> None:
        (folder / "manifest.json").write_text(json.dumps(asdict(self), indent=2) + "\n")


def load_manifest(folder: Path) -> Manifest:
    file = folder / "manifest.json"
    if not file.exists():
        raise StartupError(f"{folder} is no backup of ours: it has no manifest.json.")
    try:
        told: dict[str, Any] = json.loads(file.read_text())
        if told.get("format") != FORMAT:
            raise StartupError(f"{folder} has the format {told.get('format')}, and this release reads {FORMAT}.")
        return Manifest(**told)
    except (ValueError, TypeError, AttributeError) as wrong:
        raise StartupError(f"{file} cannot be read: {wrong}.") from None


def sha256_of(file: Path, read: Callable[[int], None]) -> str:
    hashed = hashlib.sha256()
    done = 0
    try:
        with file.open("rb") as handle:
            while chunk := handle.read(1 << 20):
                hashed.update(chunk)
                done += len(chunk)
                read(done)
    except OSError as refused:
        raise StartupError(f"{file} cannot be read ({refused.strerror}).") from None
    return hashed.hexdigest()


def fingerprint(secret: str) -> str:
    """By which a secret is recognised, and not told."""
    return hashlib.sha256(b"millrace backup " + secret.encode()).hexdigest()[:16]
