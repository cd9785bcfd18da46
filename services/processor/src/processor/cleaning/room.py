"""What cleaning may use."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb

from processor.step import StepError, Task

# What the interpreter, its libraries and DuckDB's own allocator take beside what DuckDB counts.
_BESIDE_MB = 160
# What each column takes at least: DuckDB has several vectors of it at once, each of 2048 cells of 16 bytes.
_COLUMN_KB = 128


@dataclass(frozen=True, slots=True)
class Room:
    memory_mb: int
    threads: int
    scratch: str  # a folder

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
        """Raises `StepError` where there is not room enough."""
        with duckdb.connect(
            config={"memory_limit": f"{self.counted_mb}MB", "temp_directory": self.scratch, "threads": self.threads}
        ) as connection:
            try:
                yield connection
            except duckdb.OutOfMemoryException:
                detail = f"This needs more than the {self.memory_mb} MB that a step may use."
                raise StepError("out_of_memory", detail) from None


def room_of(task: Task) -> Room:
    return Room(task.memory_mb, task.threads, task.scratch)
