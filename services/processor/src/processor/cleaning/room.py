"""What cleaning may use."""

from dataclasses import dataclass

import duckdb

from processor.step import Task


@dataclass(frozen=True, slots=True)
class Room:
    memory_mb: int
    threads: int
    scratch: str  # a folder

    def connect(self) -> duckdb.DuckDBPyConnection:
        return duckdb.connect(
            config={"memory_limit": f"{self.memory_mb}MB", "temp_directory": self.scratch, "threads": self.threads}
        )


def room_of(task: Task) -> Room:
    return Room(task.memory_mb, task.threads, task.scratch)
