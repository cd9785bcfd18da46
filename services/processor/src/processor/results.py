"""Where a job's result is kept: in its last event if it is short, else in a blob that the event refers to."""

from collections.abc import Iterator
from typing import Any

import msgspec

from events.blobs.blobs import Blobs
from events.blobs.keys import belongs_to
from events.envelope import encode_json
from events.errors import NotFound
from events.jobs import KeptBlob

# Every subscriber gets a job's last event, so it must stay small.
INLINE_BYTES = 32 * 1024
# A result that is made of many outputs is told whole up to this; beyond, it says where they are.
_WHOLE_BYTES = 64 << 20
_LONGEST_LIST = 4 << 20  # bytes that are looked through for references
# A step's output stands in a result by itself, beside those of other last steps, or as an item of a map's.
_DEEPEST = 2

RESULTS = "results/"


async def keep_result(blobs: Blobs, key: str, result: Any) -> Any:
    """What the event says: the result, or `{"blob": …, "bytes": …}`."""
    body = encode_json(result)
    if len(body) <= INLINE_BYTES:
        return result
    await blobs.put(key, body)
    return KeptBlob(blob=key, bytes=len(body))


def may_refer(result: Any) -> bool:
    """Whether a result may say where it is, or a part of it, instead of what."""
    return b'"blob"' in encode_json(result)


def refers(result: Any, tenant: str) -> bool:
    """Whether it does."""
    return any(True for _ in _references(result, tenant))


async def whole_result(blobs: Blobs, tenant: str, said: bytes, *, most: int = _WHOLE_BYTES) -> bytes:
    """The result, wherever it and its parts are; of what has been deleted, or is too large, where it is."""
    if b'"blob"' not in said:
        return said
    result = msgspec.json.decode(said)
    if _is_reference(result, tenant):
        body = None if result["bytes"] > most else await _read(blobs, result["blob"])
        if body is None or len(body) > most:  # a step may have said whatever it likes of its bytes
            return said
        said = body
        if len(said) > _LONGEST_LIST:
            return said
        result = msgspec.json.decode(said)
    kept = list(_references(result, tenant))
    if not kept or sum(one["bytes"] for one in kept) > most:
        return said
    parts = {one["blob"]: await _read(blobs, one["blob"]) for one in kept}
    if sum(len(body) for body in parts.values() if body is not None) > most:
        return said
    return encode_json(_filled(result, {key: msgspec.Raw(body) for key, body in parts.items() if body is not None}))


def _is_reference(value: Any, tenant: str) -> bool:
    """A step may give whatever it likes, and so also what looks like a reference, to anybody's blob."""
    match value:
        case {"blob": str(key), "bytes": int(), **rest} if not rest:
            return key.startswith(RESULTS) and belongs_to(key, tenant)
    return False


def _references(value: Any, tenant: str, depth: int = 0) -> Iterator[Any]:
    if _is_reference(value, tenant):
        yield value
    elif depth < _DEEPEST and isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _references(part, tenant, depth + 1)


def _filled(value: Any, parts: dict[str, msgspec.Raw], depth: int = 0) -> Any:
    match value:
        case {"blob": str(key), "bytes": int(), **rest} if not rest and key in parts:
            return parts[key]
        case dict() if depth < _DEEPEST:
            return {name: _filled(part, parts, depth + 1) for name, part in value.items()}
        case list() if depth < _DEEPEST:
            return [_filled(part, parts, depth + 1) for part in value]
    return value


async def _read(blobs: Blobs, key: str) -> bytes | None:
    try:
        return await blobs.get(key)
    except NotFound:
        return None
