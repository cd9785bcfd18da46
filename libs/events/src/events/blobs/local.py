"""Blobs on local disk: durable before they get their name, and nothing left of a writer that was killed.

A writer holds a lock on its partial file, which the kernel drops when the process dies. So a sweep, in whichever
process, can tell the partial of a slow writer from one that nobody will finish.
"""

import contextlib
import errno
import fcntl
import os
import secrets
import time
from collections.abc import Collection
from pathlib import Path

PARTIAL = ".partial"

_WRITEBACK_BYTES = 8 << 20
_VECTORS = 1024  # IOV_MAX: how many pieces Linux takes in one call


class GrowingFile:
    """A new file, locked as long as it is open. Starts the disk on what it has, so that little is left to sync."""

    def __init__(self, path: Path) -> None:
        make_folders(path.parent)
        self.handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(self.handle, fcntl.LOCK_EX)
        self._written = 0
        self._pushed = 0

    def write(self, chunks: list[bytes]) -> None:
        for first in range(0, len(chunks), _VECTORS):
            self._write_all(chunks[first : first + _VECTORS])
        if self._written - self._pushed >= _WRITEBACK_BYTES:
            _start_writeback(self.handle, self._pushed, self._written - self._pushed)
            self._pushed = self._written

    def close(self) -> None:
        os.close(self.handle)

    def _write_all(self, chunks: list[bytes]) -> None:
        written = os.writev(self.handle, chunks)
        self._written += written
        if written < sum(map(len, chunks)):  # the disk is full, or will say what is wrong with it
            rest = memoryview(b"".join(chunks))[written:]
            while rest:
                written = os.write(self.handle, rest)
                self._written += written
                rest = rest[written:]


class FileSink:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}{PARTIAL}")
        self._file: GrowingFile | None = None
        self._named = False

    def write(self, chunks: list[bytes]) -> None:
        self._opened().write(chunks)

    def commit(self) -> None:
        file = self._opened()
        os.fsync(file.handle)
        os.rename(self._partial, self._path)
        self._named = True
        sync_folder(self._path.parent)
        self._close(file)

    def abort(self) -> None:
        if self._file is not None:
            (self._path if self._named else self._partial).unlink(missing_ok=True)
            self._close(self._file)

    def _opened(self) -> GrowingFile:
        if self._file is None:
            self._file = GrowingFile(self._partial)
        return self._file

    def _close(self, file: GrowingFile) -> None:
        self._file = None
        file.close()


def remove_abandoned(root: Path, older_than: float) -> int:
    """Remove the partials that nobody is writing. `older_than` seconds leave a writer the moment between creating
    its file and locking it."""
    removed = 0
    newest = time.time() - older_than
    for partial in root.rglob(f"*{PARTIAL}"):
        with contextlib.suppress(FileNotFoundError, BlockingIOError):
            if partial.stat().st_mtime > newest:
                continue
            file = os.open(partial, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                partial.unlink()
                removed += 1
            finally:
                os.close(file)
    return removed


def delete_files_below(root: Path, keep: Collection[Path]) -> None:
    """All but these, and the folders that have nothing in them then."""
    for folder, _, names in os.walk(root, topdown=False):
        for path in (Path(folder, name) for name in names):
            if path not in keep:
                path.unlink(missing_ok=True)
        try:
            os.rmdir(folder)
        except OSError as kept:
            if kept.errno not in (errno.ENOTEMPTY, errno.ENOENT):
                raise


def _start_writeback(file: int, begin: int, length: int) -> None:
    """Let the kernel write these bytes to the disk now instead of when we sync, without waiting for it. It is free to
    forget those that are clean already, which are few."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file, begin, length, os.POSIX_FADV_DONTNEED)


def make_folders(folder: Path) -> None:
    """Make it and whatever it lies in, durably."""
    if not folder.exists():
        make_folders(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in it durable."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
