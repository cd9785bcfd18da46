"""The disk that steps write to. Where it is full, a step says so."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EDQUOT, ENOSPC
from pathlib import Path

from processor.step import StepError

FULL = (ENOSPC, EDQUOT)


def free_bytes(folder: Path) -> int:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def check_disk(folder: Path, wanted: int, left_free: int) -> None:
    """Raises `StepError` if so many bytes more would leave less than that for others."""
    if free_bytes(folder) - wanted < left_free:
        raise disk_full()


def disk_full() -> StepError:
    return StepError("disk_full", "There is not enough room on the processor's disk for this.")


@contextmanager
def enough_disk() -> Iterator[None]:
    """Around what writes files."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise disk_full() from None
        raise
