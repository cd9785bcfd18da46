"""Compressed bytes, handed out in small slices."""

from collections.abc import Callable
from typing import BinaryIO

# Decoders hand back what follows a part's end as a copy: with large slices, many small parts would take quadratic time.
_SLICE_BYTES = 16 << 10


class Source:
    """`length` bytes of a file. `on_bytes` is told how many were read, and may raise to stop it all."""

    def __init__(self, file: BinaryIO, begin: int, length: int, on_bytes: Callable[[int], None]) -> None:
        file.seek(begin)
        self._file = file
        self._left = length
        self._on_bytes = on_bytes
        self._pending = b""
        self._read = 0

    def tell(self) -> None:
        self._on_bytes(self._read)

    def take(self) -> bytes:
        """The next slice; nothing at the end."""
        taken, self._pending = self._pending or self._next(), b""
        return taken

    def give_back(self, rest: bytes) -> None:
        """What was taken and not used."""
        self._pending = rest + self._pending

    def head(self, length: int) -> bytes:
        """The next bytes, which stay; fewer at the end."""
        while len(self._pending) < length and (more := self._next()):
            self._pending += more
        return self._pending[:length]

    def skip(self, length: int) -> bool:
        """Whether there were so many."""
        while length > 0 and (taken := self.take()):
            self.give_back(taken[length:])
            length -= len(taken)
        return length <= 0

    def _next(self) -> bytes:
        self.tell()
        data = self._file.read(min(_SLICE_BYTES, self._left))
        self._read += len(data)
        self._left -= len(data)
        return data
