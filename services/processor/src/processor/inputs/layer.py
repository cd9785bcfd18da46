"""What comes out of one layer of compression: written to disk, and counted on the way."""

import os
from collections.abc import Callable, Iterator
from errno import EDQUOT, ENOSPC
from pathlib import Path

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
    _check_disk(path.parent, caps)
    try:
        with path.open("xb") as file:
            for piece in pieces:
                size += len(piece)
                check_size(size, sent, caps)
                if size - looked_at >= _LOOK_BYTES:
                    _check_disk(path.parent, caps)
                    looked_at = size
                file.write(piece)
                on_piece()
    except OSError as error:
        if error.errno in (ENOSPC, EDQUOT):
            raise _full() from None
        raise


def _check_disk(folder: Path, caps: Caps) -> None:
    disk = os.statvfs(folder)
    if disk.f_bavail * disk.f_frsize < caps.disk_free_bytes:
        raise _full()


def _full() -> StepError:
    return StepError("disk_full", "There is not enough room on the processor's disk to decompress the file.")
