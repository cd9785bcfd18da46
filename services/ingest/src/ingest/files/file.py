"""A file on its way by the tus protocol."""

import hashlib
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from events.envelope import encode_json
from events.errors import Gone

PART = "partial"  # what `Upload-Concat` says of a file that others will be made of


@dataclass(frozen=True, slots=True)
class FileWish:
    """What a client wants sent, and done with it."""

    length: int | None  # bytes; None if that is said later, or follows from its parts
    parts: tuple[UUID, ...]  # the files that it is made of; none if its bytes are sent
    workflow: str
    options: dict[str, Any]
    filename: str | None
    content_type: str | None
    metadata: str | None  # as it was sent
    concat: str | None  # as it was sent
    idempotency_key: str | None

    @property
    def is_part(self) -> bool:
        return self.concat == PART

    @property
    def asked(self) -> bytes:
        """What makes two creations the same request."""
        return hashlib.sha256(encode_json((self.length, self.metadata, self.concat))).digest()


@dataclass(frozen=True, slots=True)
class File:
    tenant: str
    id: UUID
    length: int | None
    stored: int  # so many bytes are durable
    metadata: str | None
    concat: str | None
    workflow: str
    options: dict[str, Any]
    filename: str | None
    content_type: str | None
    part_of: UUID | None
    expires_at: datetime
    token: int
    holder: UUID | None
    completed_at: datetime | None
    deleted_at: datetime | None
    expired: bool

    @property
    def is_part(self) -> bool:
        return self.concat == PART

    @property
    def is_final(self) -> bool:
        return self.concat is not None and not self.is_part

    @property
    def is_whole(self) -> bool:
        return self.stored == self.length

    @property
    def is_to_complete(self) -> bool:
        return self.is_whole and not self.is_part and self.completed_at is None and self.deleted_at is None

    @property
    def blob(self) -> str:
        return f"uploads/{self.tenant}/{self.id}"

    def check_there(self) -> None:
        if self.deleted_at is not None or self.expired:
            raise Gone("This file has been deleted, or has expired. Send it anew.")


_NAMES = tuple(field.name for field in fields(File))


def file_of(row: asyncpg.Record) -> File:
    return File(**{name: row[name] for name in _NAMES} | {"options": msgspec.json.decode(row["options"])})
