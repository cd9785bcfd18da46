"""What comes out of one layer of compression: written to disk, and counted on the way."""

from collections.abc import Callable, Iterator
from pathlib import Path

from processor.disk import check_disk, enough_disk
from processor.inputs.caps import Caps
from processor.step import StepError

# Small files may be as compressible as they like.
_FREE_BYTES = 1 << 20
_LOOK_BYTES = 4 << 20  # between looks at how full the disk is


def check_size(size: int, sent: int, caps: Caps) -> None:
    """Whether so many bytes may come out of a layer of a file of which `sent` bytes were sent."""
    if size > caps.bytes:
        raise StepError("archive_too_large", f"The file has more than {caps.bytes:,} bytes when it is decompressed.")
    if size > max(_FREE_BYTES, caps.ratio * sent):
        detail = f"The file becomes more than {caps.ratio} times as large when it is decompressed, as bombs do."
        raise StepError("archive_ratio", detail)


def store(path: Path, pieces: Iterator[bytes], sent: int, caps: Caps, on_piece: Callable[[], None]) -> None:
    size = looked_at = 0
    check_disk(path.parent, 0, caps.disk_free_bytes)
    with enough_disk(), path.open("xb") as file:
        for piece in pieces:
            size += len(piece)
            check_size(size, sent, caps)
            if size - looked_at >= _LOOK_BYTES:
                check_disk(path.parent, 0, caps.disk_free_bytes)
                looked_at = size
            file.write(piece)
            on_piece()
