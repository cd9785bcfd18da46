"""SHA-256 of what has come of each file, so that one that is resumed here need not be read again."""

import hashlib
from collections import OrderedDict
from typing import Protocol
from uuid import UUID

_MOST_FILES = 1_000


class Sha256(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def copy(self) -> "Sha256": ...
    def hexdigest(self) -> str: ...


class RunningHashes:
    def __init__(self) -> None:
        self._kept: OrderedDict[UUID, tuple[int, Sha256]] = OrderedDict()

    def of(self, file: UUID, stored: int) -> Sha256 | None:
        """Of its first so many bytes; None if we have not seen them all. Whoever asks goes on with it."""
        if stored == 0:
            return hashlib.sha256()
        known, sha256 = self._kept.pop(file, (None, None))
        return sha256 if known == stored else None

    def keep(self, file: UUID, stored: int, sha256: Sha256) -> None:
        self._kept[file] = stored, sha256
        self._kept.move_to_end(file)
        if len(self._kept) > _MOST_FILES:
            self._kept.popitem(last=False)
