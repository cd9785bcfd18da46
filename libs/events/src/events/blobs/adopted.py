"""Files that become blobs: moved to their place where that can be, else copied there."""

import asyncio
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

from events.blobs.local import FileSink, make_folders, sync_folder
from events.blobs.sink import Sink

_READ_BYTES = 1 << 20
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


async def adopt_into_folder(path: Path, into: Path) -> None:
    await _in_thread(lambda given_up: _move(path, into, given_up))


async def adopt_into_store(path: Path, sink: Sink) -> None:
    await _in_thread(lambda given_up: _copy(path, sink, given_up))


def _move(path: Path, into: Path, given_up: threading.Event) -> None:
    """Durable before it has its name, whoever has written it."""
    file = os.open(path, _FLAGS)
    try:
        os.fchmod(file, 0o600)
        os.fsync(file)
    finally:
        os.close(file)
    make_folders(into.parent)
    try:
        os.rename(path, into)
    except OSError as failed:
        if failed.errno != errno.EXDEV:
            raise
        _copy(path, FileSink(into), given_up)
    else:
        sync_folder(into.parent)


def _copy(path: Path, sink: Sink, given_up: threading.Event) -> None:
    try:
        with os.fdopen(os.open(path, _FLAGS), "rb") as file:
            while chunk := file.read(_READ_BYTES):
                if given_up.is_set():
                    raise _GivenUpError
                sink.write([chunk])
        sink.commit()
    except BaseException:
        sink.abort()
        raise


async def _in_thread(work: Callable[[threading.Event], None]) -> None:
    """If we are cancelled, the thread ends soon, and we with it: nobody is at the file any more then."""
    given_up = threading.Event()
    working = asyncio.ensure_future(asyncio.to_thread(work, given_up))
    try:
        await asyncio.shield(working)
    except asyncio.CancelledError:
        given_up.set()
        await asyncio.wait({working})
        working.exception()  # it was asked to fail
        raise


class _GivenUpError(Exception):
    """Nobody wants the rest."""
