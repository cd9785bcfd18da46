"""Where a job's result is kept: in its last event if it is short, else in a blob that the event refers to."""

from typing import Any

import msgspec

from events.blob_keys import belongs_to
from events.blobs import Blobs
from events.envelope import encode_json
from events.errors import NotFound
from events.jobs import KeptBlob

# Every subscriber gets a job's last event, so it must stay small.
INLINE_BYTES = 32 * 1024


RESULTS = "results/"


class _Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    blob: str
    bytes: int


_references = msgspec.json.Decoder(_Reference)


async def keep_result(blobs: Blobs, key: str, result: Any) -> Any:
    """What the event says: the result, or `{"blob": …, "bytes": …}`."""
    body = encode_json(result)
    if len(body) <= INLINE_BYTES:
        return result
    await blobs.put(key, body)
    return KeptBlob(blob=key, bytes=len(body))


async def whole_result(blobs: Blobs, tenant: str, said: bytes) -> bytes:
    """The result, wherever it is; what is said itself if that is no reference of ours, or the blob has been deleted."""
    try:
        key = _references.decode(said).blob
    except msgspec.ValidationError:
        return said
    # A step may give whatever it likes, and so also what looks like a reference, to anybody's blob.
    if not (key.startswith(RESULTS) and belongs_to(key, tenant)):
        return said
    try:
        return await blobs.get(key)
    except NotFound:
        return said
