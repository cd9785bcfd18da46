"""UUIDv7 identifiers: new ones, and ones derived from another so that a repetition names the same thing."""

import hashlib
import os
import time
from datetime import UTC, datetime
from uuid import UUID

_RANDOM_BITS = (1 << 74) - 1


def new_id() -> UUID:
    """A UUIDv7 of now (RFC 9562): sorts by time, so that index pages fill from the right."""
    return _uuid7(time.time_ns() // 1_000_000, int.from_bytes(os.urandom(10), "big"))


def derived_id(parent: UUID, name: str) -> UUID:
    """The one id that `name` has under `parent`: whoever handles the parent again names the same child."""
    digest = hashlib.blake2b(name.encode(), key=parent.bytes, digest_size=10).digest()
    return _uuid7(parent.int >> 80, int.from_bytes(digest, "big"))


def made_at(id_: UUID) -> datetime:
    """When it was made; of a derived one, when the one was that it is derived from."""
    return datetime.fromtimestamp((id_.int >> 80) / 1000, UTC)


def _uuid7(milliseconds: int, randomness: int) -> UUID:
    randomness &= _RANDOM_BITS
    high, low = randomness >> 62, randomness & ((1 << 62) - 1)
    return UUID(int=(milliseconds << 80) | (0x7 << 76) | (high << 64) | (0b10 << 62) | low)
