"""Where a blob's bytes go, on whatever store."""

from typing import Protocol


class Sink(Protocol):
    """It blocks: it is called in worker threads, one call at a time."""

    def write(self, chunks: list[bytes]) -> None: ...
    def commit(self) -> None:
        """Make all of it durable, then visible."""

    def abort(self) -> None:
        """Leave nothing, whatever has failed, a commit too."""
