"""Files of parts, one after the other, as one file."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from processor.cleaning.parquet.footers import TAIL_BYTES, ParquetFile, footer_length, joined_footer

_PIECE_BYTES = 8 << 20


def join_parquet(parts: Sequence[Path], whole: Path) -> None:
    files: list[ParquetFile] = []
    with whole.open("wb") as target:
        for part in parts:
            with part.open("rb") as file:
                size = file.seek(-TAIL_BYTES, os.SEEK_END)
                end = size - footer_length(file.read())
                file.seek(end)
                files.append(ParquetFile(end, file.read(size - end)))
                _copy(file, end, target)
        target.write(joined_footer(files))


def join_bytes(parts: Sequence[Path], whole: Path, head: bytes = b"") -> None:
    with whole.open("wb") as target:
        target.write(head)
        for part in parts:
            with part.open("rb") as file:
                _copy(file, part.stat().st_size, target)


def _copy(source: BinaryIO, length: int, target: BinaryIO) -> None:
    source.seek(0)
    while length > 0:
        piece = source.read(min(_PIECE_BYTES, length))
        target.write(piece)
        length -= len(piece)
