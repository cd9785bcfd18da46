"""Blobs in an object store. What a writer could not complete it aborts; what a killed one has left, only a rule of the
bucket can remove: no store lists the parts that nobody has made an object of."""

import contextlib
import math
from collections.abc import Collection
from datetime import timedelta
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError
from obstore.store import ObjectStore, from_url

from events.errors import StartupError

if TYPE_CHECKING:
    from obstore.store import BackoffConfig

# So many are on their way while the next is filled: an upload holds three of them in memory at most.
PARTS_AT_ONCE = 2
_PART_BYTES = 8 << 20
_MOST_PARTS = 10_000  # that S3 takes

# A client waits for us: it hears that the store is away before whoever passes its request on gives up.
PATIENCE_SECONDS = 10.0


def open_store(url: str, patience: float) -> ObjectStore:
    """The store that an s3://, gs:// or az:// URL names, with what the environment says of it. Requests that fail are
    repeated until the patience ends."""
    backoff: BackoffConfig = {"max_backoff": timedelta(seconds=2)}
    try:
        return from_url(url, retry_config={"retry_timeout": timedelta(seconds=patience), "backoff": backoff})
    except (BaseError, ValueError) as unusable:
        raise StartupError(f"MILLRACE_BLOBS_URL is not usable: {str(unusable).splitlines()[0]}.") from None


def part_bytes(total: int) -> int:
    """Of a multipart upload of so many bytes."""
    return max(_PART_BYTES, math.ceil(total / _MOST_PARTS))


class ObjectSink:
    """A multipart upload, or a single request for what is small: invisible until it is completed."""

    def __init__(self, store: ObjectStore, key: str) -> None:
        self._store = store
        self._key = key
        self._writer = obstore.open_writer(store, key, buffer_size=_PART_BYTES, max_concurrency=PARTS_AT_ONCE)
        self._committing = False

    def write(self, chunks: list[bytes]) -> None:
        for chunk in chunks:
            self._writer.write(chunk)

    def commit(self) -> None:
        self._committing = True
        self._writer.close()

    def abort(self) -> None:
        with contextlib.suppress(_GivenUpError, BaseError, OSError):
            if self._committing:  # it may have been completed although we did not hear of it
                obstore.delete(self._store, self._key)
            else:
                with self._writer:
                    raise _GivenUpError


async def delete_objects_below(store: ObjectStore, folder: str, keep: Collection[str]) -> None:
    async for page in obstore.list(store, f"{folder}/"):
        names = [entry["path"] for entry in page if entry["path"] not in keep]
        if names:
            await obstore.delete_async(store, names)


class _GivenUpError(Exception):
    """What the writer takes for a reason to abort."""
