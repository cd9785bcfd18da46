"""Blobs in a backup: listed, and copied where that is wanted.

The database's snapshot is older than the listing, so whatever it speaks of is there, unless somebody has deleted it
since.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.printing import Advance
from events.blobs.blobs import Blobs, open_blobs
from events.errors import NotFound

_AT_ONCE = 4


class _Damaged(Exception):
    """The copy is another one than was made."""


@dataclass(frozen=True, slots=True)
class Listed:
    key: str
    bytes: int
    sha256: str | None = None


@dataclass(slots=True)
class Kept:
    count: int = 0
    bytes: int = 0
    gone: int = 0


async def keep_blobs(blobs: Blobs, folder: Path, advance: Advance, *, copy: bool) -> Kept:
    """List them in `blobs.jsonl`, with their copies in `blobs/`."""
    kept = Kept()
    copies = open_blobs(str(folder / "blobs")) if copy else None
    found = [Listed(key, info.bytes) async for key, info in blobs.listing()]
    with (folder / "blobs.jsonl").open("w") as listing:
        for number, one in enumerate(found, 1):
            try:
                listed = one if copies is None else await _copied(blobs, copies, one.key)
            except NotFound:
                kept.gone += 1
                continue
            listing.write(json.dumps({"key": listed.key, "bytes": listed.bytes, "sha256": listed.sha256}) + "\n")
            kept.count += 1
            kept.bytes += listed.bytes
            advance(number, len(found))
    return kept


async def put_back(folder: Path, into: Blobs, advance: Advance, total: int) -> list[str]:
    """Copy them back, each checked against the hash that it had: what is wrong replaces nothing, and is returned."""
    copies = open_blobs(str(folder / "blobs"))
    wrong: list[str] = []
    for number, one in enumerate(listed(folder), 1):
        try:
            await _copied(copies, into, one.key, expected=one.sha256)
        except NotFound:
            wrong.append(f"{one.key} is not in the backup")
        except _Damaged:
            wrong.append(f"{one.key} is not what was copied")
        advance(number, total)
    return wrong


async def missing(folder: Path, blobs: Blobs, advance: Advance, total: int) -> list[str]:
    """Which of those that were only listed are not in the store, or have another size."""
    wrong: list[str] = []
    waiting = listed(folder)
    number = 0
    while some := [one for _, one in zip(range(_AT_ONCE), waiting, strict=False)]:
        wrong += [said for said in await asyncio.gather(*(_compared(blobs, one) for one in some)) if said]
        number += len(some)
        advance(number, total)
    return wrong


def listed(folder: Path) -> Iterator[Listed]:
    with (folder / "blobs.jsonl").open() as listing:
        for line in listing:
            yield Listed(**json.loads(line))


async def _compared(blobs: Blobs, one: Listed) -> str | None:
    try:
        there = (await blobs.stat(one.key)).bytes
    except NotFound:
        return f"{one.key} is not in the store"
    return None if there == one.bytes else f"{one.key} has {there} of {one.bytes} bytes"


async def _copied(source: Blobs, into: Blobs, key: str, *, expected: str | None = None) -> Listed:
    hashed = hashlib.sha256()
    count = 0
    async with into.writing(key) as writer:
        async for chunk in _read(source, key):
            hashed.update(chunk)
            count += len(chunk)
            await writer.write(chunk)
        if expected not in (None, hashed.hexdigest()):
            raise _Damaged
    return Listed(key, count, hashed.hexdigest())


async def _read(source: Blobs, key: str) -> AsyncIterator[bytes]:
    async for chunk in source.read(key):
        yield chunk
