"""What a step says when its memory is not enough."""

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from processor.step import StepError, Task


@contextmanager
def enough_memory(task: Task) -> Iterator[None]:
    try:
        yield
    except duckdb.OutOfMemoryException:
        detail = f"The file needs more than the {task.memory_mb} MB of memory that a step may use."
        raise StepError("out_of_memory", detail) from None
