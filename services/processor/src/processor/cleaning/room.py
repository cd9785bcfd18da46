"""What cleaning may use."""

from dataclasses import dataclass

import duckdb

from processor.step import Task

# What the interpreter, its libraries and DuckDB's own allocator take beside what DuckDB counts.
_BESIDE_MB = 160


@dataclass(frozen=True, slots=True)
class Room:
    memory_mb: int
    threads: int
    scratch: str  # a folder

    @property
    def counted_mb(self) -> int:
        """Of DuckDB."""
        return max(self.memory_mb - _BESIDE_MB, self.memory_mb // 2)

    def connect(self) -> duckdb.DuckDBPyConnection:
        return duckdb.connect(
            config={"memory_limit": f"{self.counted_mb}MB", "temp_directory": self.scratch, "threads": self.threads}
        )


def room_of(task: Task) -> Room:
    return Room(task.memory_mb, task.threads, task.scratch)
