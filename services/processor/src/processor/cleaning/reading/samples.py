"""Samples of a file: its beginning, its end, and pieces in between. They cost the same whatever the file's size is."""

import os
from dataclasses import dataclass
from pathlib import Path

HEAD_BYTES = 2 << 20
TAIL_BYTES = 256 << 10
_PIECES, _PIECE_BYTES = 15, 64 << 10
_WIDEST_CHARACTER = 4  # bytes: pieces begin where a character does, in encodings of a fixed width


@dataclass(frozen=True, slots=True)
class Samples:
    size: int  # of the file
    head: bytes
    between: tuple[bytes, ...]  # evenly spread; nothing if the head is the whole file
    tail: bytes  # nothing if the head is the whole file

    @property
    def are_all(self) -> bool:
        return len(self.head) == self.size

    def pieces(self) -> tuple[bytes, ...]:
        return (self.head, *self.between, *([self.tail] if self.tail else []))


def take_samples(path: Path) -> Samples:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = os.pread(file.fileno(), HEAD_BYTES, 0)
        if len(head) == size:
            return Samples(size, head, (), b"")
        rest = size - len(head)
        between = [
            os.pread(file.fileno(), min(_PIECE_BYTES, rest // _PIECES), _aligned(len(head) + number * rest // _PIECES))
            for number in range(_PIECES)
        ]
        tail_at = _aligned(max(len(head), size - TAIL_BYTES))
        return Samples(size, head, tuple(between), os.pread(file.fileno(), TAIL_BYTES, tail_at))


def _aligned(offset: int) -> int:
    return offset - offset % _WIDEST_CHARACTER
