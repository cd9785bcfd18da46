"""What can be wrong with the blob store, in our own words."""

from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import BaseError, NotFoundError

from events.errors import NotFound, Unavailable


class StorageUnavailable(Unavailable):
    """The disk is full or failing, or the object store does not answer."""

    code, title = "storage_unavailable", "Storage unavailable"


@contextmanager
def storage_errors(key: str | None = None) -> Iterator[None]:
    """Says what went wrong in our own words. `key` is the blob that may not be there."""
    try:
        yield
    except (NotFoundError, FileNotFoundError) as missing:
        if key is None:
            raise StorageUnavailable("The blob store is not where it was.") from missing
        raise NotFound(f"There is no blob {key}.") from None
    except (BaseError, OSError) as failed:
        raise StorageUnavailable("The blob store does not take or give bytes now. Try again.") from failed
