"""What can be wrong with the blob store, in our own words."""

from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import BaseError, NotFoundError

from events.errors import NotFound, Unavailable


class StorageUnavailable(Unavailable):
    """The disk is full or failing, or the object store does not answer."""

    code, title = "storage_unavailable", "Storage unavailable"


# What stores say when it is not the object that they lack: S3 and GCS, and Azure.
_NO_STORE = ("NoSuchBucket", "ContainerNotFound")

# A store's writer makes one kind of error of all that may be wrong: only its words tell them apart.
_REFUSED = ("status code: 401", "status code: 403")


@contextmanager
def storage_errors(key: str | None = None) -> Iterator[None]:
    """Says what went wrong in our own words. `key` is the blob that may not be there."""
    try:
        yield
    except (NotFoundError, FileNotFoundError) as missing:
        if key is None or any(said in str(missing) for said in _NO_STORE):
            raise StorageUnavailable("The blob store is not where it was.") from missing
        raise NotFound(f"There is no blob {key}.") from None
    except (BaseError, OSError) as failed:
        if any(said in str(failed) for said in _REFUSED):
            raise StorageUnavailable("The blob store refuses us: its operator has to permit this.") from failed
        raise StorageUnavailable("The blob store does not take or give bytes now. Try again.") from failed
