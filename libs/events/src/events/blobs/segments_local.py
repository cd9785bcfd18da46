"""Segments on local disk, or on a folder that replicas share: each a file that grows.

Its writer holds a lock on it, which the kernel drops when the process dies. So whoever makes a blob of it can tell
whether somebody may still write to it, who has been given up and does not know it yet.
"""

import errno
import fcntl
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from events.blobs.local import FileSink, GrowingFile, make_folders, sync_folder

_COPY_BYTES = 1 << 20
# A file system that can't copy within itself says one of these.
_NO_COPYING = (errno.ENOSYS, errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP)

Part = tuple[Path, int]


class SegmentFile:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: GrowingFile | None = None
        self._named = False  # durably

    def write(self, chunks: list[bytes]) -> None:
        if self._file is None:
            self._file = GrowingFile(self._path)
        self._file.write(chunks)

    def seal(self) -> Callable[[], None]:
        file = self._file

        def sync() -> None:
            if file is None:
                return
            os.fdatasync(file.handle)
            if not self._named:
                sync_folder(self._path.parent)
                self._named = True

        return sync

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def join_files(parts: Sequence[Part], into: Path) -> None:
    """Without copying the first, which becomes the blob, unless its writer is still alive. May be repeated: what was
    done before is done again to the same effect."""
    total = sum(size for _, size in parts)
    make_folders(into.parent)
    if into.exists() and into.stat().st_size == total:
        _make_durable(into)
        return
    path, size = parts[0]
    first = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        if not _is_ours_alone(first, path):
            _copy_all(parts, into)
            return
        if os.fstat(first).st_size < size:
            raise _shorter(path)
        for source, count in parts[1:]:
            _append(source, count, first, size)
            size += count
        os.ftruncate(first, total)
        os.fsync(first)
        os.rename(path, into)
        sync_folder(into.parent)
        sync_folder(path.parent)
    finally:
        os.close(first)


def _make_durable(path: Path) -> None:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
    sync_folder(path.parent)


def _is_ours_alone(file: int, path: Path) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.path.samestat(os.fstat(file), path.stat())  # else another has made a blob of it before we had the lock


def _append(path: Path, count: int, target: int, at: int) -> None:
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        done = 0
        while done < count:
            copied = _copy(source, done, target, at + done, count - done)
            if copied == 0:
                raise _shorter(path)
            done += copied
    finally:
        os.close(source)


def _copy(source: int, from_: int, target: int, to: int, count: int) -> int:
    if hasattr(os, "copy_file_range"):
        try:
            return os.copy_file_range(source, target, count, from_, to)
        except OSError as failed:
            if failed.errno not in _NO_COPYING:
                raise
    return os.pwrite(target, os.pread(source, min(count, _COPY_BYTES), from_), to)


def _shorter(path: Path) -> OSError:
    return OSError(errno.EIO, "a segment is shorter than was recorded", str(path))


def _copy_all(parts: Sequence[Part], into: Path) -> None:
    sink = FileSink(into)
    try:
        for path, size in parts:
            with path.open("rb", buffering=0) as source:
                while size:
                    chunk = source.read(min(size, _COPY_BYTES))
                    if not chunk:
                        raise _shorter(path)
                    sink.write([chunk])
                    size -= len(chunk)
        sink.commit()
    except BaseException:
        sink.abort()
        raise
