"""The files of a finished clean as tables, with queries that can be stopped."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb
import numpy as np
from numpy.typing import NDArray

from processor.cleaning.recipe.sql import identifier, literal
from processor.cleaning.report.binning import Numbers

_POLL_SECONDS = 0.05
_STRETCHES = 16  # of a sample of rows: evenly spread, so that few row groups are read

Rows = list[tuple[Any, ...]]


class Tables:
    """`files` is the folder. A file that is not there is a table without rows."""

    def __init__(self, files: Path, scratch: Path, memory_mb: int, threads: int, on_wait: Callable[[], None]) -> None:
        self.files = files
        self._on_wait = on_wait
        self._connection = duckdb.connect(
            config={
                "memory_limit": f"{memory_mb}MB",
                "temp_directory": str(scratch),
                "threads": threads,
                "preserve_insertion_order": False,
            }
        )
        self._connection.execute("SET parquet_metadata_cache = true; SET TimeZone = 'UTC'")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def has(self, name: str) -> bool:
        return (self.files / f"{name}.parquet").exists()

    def parquet(self, name: str) -> str:
        """In a FROM; with the rows' places in the file as `file_row_number`."""
        return f"read_parquet({literal(str(self.files / f'{name}.parquet'))}, file_row_number = true)"

    def columns(self, name: str) -> list[tuple[str, str]]:
        """Names that are its own in SQL, and types. Those that differ in case only, DuckDB renames."""
        path = literal(str(self.files / f"{name}.parquet"))
        return [(str(row[0]), str(row[1])) for row in self.run(f"DESCRIBE SELECT * FROM read_parquet({path})")]  # noqa: S608

    def count(self, name: str) -> int:
        return int(self.run(f"SELECT count(*) FROM {self.parquet(name)}")[0][0])  # noqa: S608

    def run(self, query: str) -> Rows:
        """While it runs, `on_wait` is called, and may raise to stop it."""
        rows: Rows = self.wait(lambda connection: connection.execute(query).fetchall())
        return rows

    def numbers(self, sql: str, cells: Sequence[str], times: Sequence[int]) -> tuple[Numbers, NDArray[np.int64]]:
        """What `sql` makes of each `cell`, NaN for NULL, and beside it how many times it is there; in any order."""
        given = {"cell": np.array(cells, object), "times": np.array(times, np.int64)}

        def work(connection: duckdb.DuckDBPyConnection) -> Any:
            connection.register("given", given)
            try:
                return connection.execute(f"SELECT CAST({sql} AS DOUBLE) AS read, times FROM given").fetchnumpy()  # noqa: S608
            finally:
                connection.unregister("given")

        got = self.wait(work)
        return filled(got["read"]), got["times"]

    def wait(self, work: Callable[[duckdb.DuckDBPyConnection], Any]) -> Any:
        outcome: Any = None
        failed: BaseException | None = None
        done = threading.Event()

        def run() -> None:
            nonlocal outcome, failed
            try:
                outcome = work(self._connection)
            except BaseException as error:
                failed = error
            finally:
                done.set()

        running = threading.Thread(target=run, name="duckdb")
        running.start()
        try:
            while not done.wait(_POLL_SECONDS):
                self._on_wait()
        except BaseException:
            self._connection.interrupt()
            raise
        finally:
            running.join()
        if failed is not None:
            raise failed
        self._on_wait()
        return outcome


def stretches(rows: int, most: int) -> str:
    """A condition on `file_row_number` that so many of the rows fulfil, or all if there are no more."""
    if rows <= most:
        return "true"
    length = most // _STRETCHES
    begins = [number * (rows - length) // (_STRETCHES - 1) for number in range(_STRETCHES)]
    return " OR ".join(f"file_row_number BETWEEN {begin} AND {begin + length - 1}" for begin in begins)


def filled(column: Any) -> Numbers:
    """As numbers, with NaN where there is none."""
    numbers: Numbers = np.ma.filled(np.ma.asarray(column).astype(np.float64), np.nan)
    return numbers


def cut(column: str, most: int) -> str:
    return f"left({identifier(column)}, {most})"
