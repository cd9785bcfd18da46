"""Files that are sent in parts side by side, and made into one: `Upload-Concat: final;/files/a /files/b`."""

import re
from collections.abc import Sequence
from uuid import UUID

from events.body.fields import wrong_header
from events.errors import BadRequest, Conflict, Gone
from ingest.files.file import File

_FINAL = "final;"
_HEADER = "upload-concat"
_ID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_PATH = re.compile(f"(?:https?://[^/]+)?(?:/[^/]+)*/files/({_ID})")


def parse_parts(concat: str) -> tuple[UUID, ...]:
    """The parts' ids, whichever host and prefix a client knows them under."""
    if not concat.startswith(_FINAL):
        raise _wrong("value", "The value is `partial`, or `final;` with the paths of the parts.")
    found = [_PATH.fullmatch(path) for path in concat.removeprefix(_FINAL).strip(" ").split(" ")]
    ids = tuple(UUID(match[1]) for match in found if match is not None)
    if len(ids) < len(found):
        raise _wrong("part", "The parts are named by their paths, with one space between two.")
    if len(set(ids)) < len(ids):
        raise _wrong("repeated", "A part is used once.")
    return ids


def in_order(ids: Sequence[UUID], found: Sequence[File], *, into: UUID) -> list[File]:
    """The parts as they were named. Raises if the file `into` can't be made of them."""
    by_id = {part.id: part for part in found}
    parts = [by_id[id_] for id_ in ids if id_ in by_id]
    if len(parts) < len(ids) or not all(part.is_part for part in parts):
        raise _wrong("unknown", "One of the files is not there, or was not created as a part.")
    for part in parts:
        part.check_there()
        if part.part_of not in (None, into):
            raise Gone("One of the parts has been used for another file. Send it anew.")
        if not part.is_whole:
            raise Conflict(f"The part {part.id} is not complete: it has {part.stored} bytes.")
    return parts


def _wrong(code: str, detail: str) -> BadRequest:
    return wrong_header(_HEADER, code, detail)
