"""What cleaning may use."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from processor.disk import FULL, disk_full, free_bytes
from processor.step import StepError, Task

# What the interpreter, its libraries and DuckDB's own allocator take beside what DuckDB counts.
_BESIDE_MB = 160
# What each column takes at least: DuckDB has several vectors of it at once, each of 2048 cells of 16 bytes.
_COLUMN_KB = 128
_FULL = ("max_temp_directory_size", *map(os.strerror, FULL))
_SAID = 300  # characters of what DuckDB says


@dataclass(frozen=True, slots=True)
class Room:
    memory_mb: int
    threads: int
    scratch: str  # a folder
    disk_free_bytes: int = 0  # left for others on the folder's disk

    @property
    def counted_mb(self) -> int:
        """Of DuckDB."""
        return max(self.memory_mb - _BESIDE_MB, self.memory_mb // 2)

    def check_width(self, columns: int) -> None:
        """Raises `StepError` for a table that is too wide: to try it would take more than DuckDB counts."""
        if columns * _COLUMN_KB > self.counted_mb << 10:
            detail = f"A table of {columns:,} columns needs more than the {self.memory_mb} MB that a step may use."
            raise StepError("out_of_memory", detail)

    @contextmanager
    def connect(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Raises `StepError` where there is not room enough, and for what DuckDB cannot compute."""
        with duckdb.connect(
            config={"memory_limit": f"{self.counted_mb}MB", "temp_directory": self.scratch, "threads": self.threads}
        ) as connection:
            limit_disk(connection, self.scratch, self.disk_free_bytes)
            try:
                yield connection
            except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
                if is_full(error):
                    raise disk_full() from None
                if isinstance(error, duckdb.IOException):
                    raise
                detail = f"This needs more than the {self.memory_mb} MB that a step may use."
                raise StepError("out_of_memory", detail) from None
            except (duckdb.DataError, duckdb.ProgrammingError, duckdb.NotSupportedError) as error:
                # A step that crashes is tried again, and this would be the same again.
                said = str(error).partition("\n")[0][:_SAID]
                raise StepError("not_computable", f"This cannot be computed: {said}") from error


def limit_disk(connection: duckdb.DuckDBPyConnection, scratch: str, left_free: int) -> None:
    """What does not fit the memory goes to the disk, of which so many bytes are left to others."""
    most_mb = max(0, free_bytes(Path(scratch)) - left_free) >> 20
    connection.execute(f"SET max_temp_directory_size = '{most_mb}MiB'")  # as a part of `config`, it is not kept to


def is_full(error: duckdb.Error) -> bool:
    """Whether it is for want of room on the disk."""
    return any(sign in str(error) for sign in _FULL)


def room_of(task: Task) -> Room:
    return Room(task.memory_mb, task.threads, task.scratch, task.caps.disk_free_bytes)
