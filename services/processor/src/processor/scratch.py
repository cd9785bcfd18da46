"""Folders for what steps need while they run. A processor that is killed cannot remove its own: the next one does."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def open_scratch(parent: Path) -> Iterator[Path]:
    """A folder of this process, and the end of those whose process is gone."""
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.iterdir():
        _remove_if_abandoned(left)
    scratch = parent / uuid4().hex
    scratch.mkdir(mode=0o700)
    lock = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield scratch
        shutil.rmtree(scratch, ignore_errors=True)
    finally:
        os.close(lock)


@contextmanager
def folder_for(scratch: Path, name: str) -> Iterator[Path]:
    """A folder that is gone when the block ends."""
    folder = scratch / f"{name}-{uuid4().hex}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_if_abandoned(folder: Path) -> None:
    """The lock of a live process is not to be had."""
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return  # somebody else was faster
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        return
    finally:
        os.close(lock)
