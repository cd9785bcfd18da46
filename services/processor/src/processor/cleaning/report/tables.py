"""The files of a finished clean as tables, with queries that can be stopped."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from processor.cleaning.report.binning import Numbers
from processor.cleaning.room import Room
from processor.cleaning.running import interruptible
from processor.cleaning.sql import identifier, literal

_LARGEST = 1e150  # the squares of larger numbers are none
_STRETCHES = 16  # of a sample of rows: evenly spread, so that few row groups are read

Rows = list[tuple[Any, ...]]


@contextmanager
def open_tables(files: Path, room: Room, look: Callable[[], None]) -> Iterator["Tables"]:
    """While a query runs, `look` is called, and may raise to stop it."""
    with room.connect() as connection, interruptible(connection, look):
        connection.execute("SET preserve_insertion_order = false")
        connection.execute("SET parquet_metadata_cache = true; SET TimeZone = 'UTC'")
        yield Tables(files, connection)


@dataclass(frozen=True, slots=True)
class Tables:
    """A file that is not there is a table without rows."""

    files: Path  # a folder
    connection: duckdb.DuckDBPyConnection

    def has(self, name: str) -> bool:
        return (self.files / f"{name}.parquet").exists()

    def parquet(self, name: str) -> str:
        """In a FROM; with the rows' places in the file as `file_row_number`."""
        return f"read_parquet({literal(str(self.files / f'{name}.parquet'))})"

    def by_slots(self, name: str) -> str:
        """The same, with its columns as s0, s1, …, so that none can be called `file_row_number`."""
        return f"{self.parquet(name)} AS t({', '.join(f's{at}' for at in range(len(self.columns(name))))})"

    def columns(self, name: str) -> list[tuple[str, str]]:
        """Names that are its own in SQL, and types. Those that differ in case only, DuckDB renames."""
        path = literal(str(self.files / f"{name}.parquet"))
        return [(str(row[0]), str(row[1])) for row in self.run(f"DESCRIBE SELECT * FROM read_parquet({path})")]  # noqa: S608

    def count(self, name: str) -> int:
        return int(self.run(f"SELECT count(*) FROM {self.parquet(name)}")[0][0])  # noqa: S608

    def run(self, query: str) -> Rows:
        return self.connection.execute(query).fetchall()

    def arrays(self, query: str) -> dict[str, Any]:
        """A column by its name, as what numpy has for it."""
        found: dict[str, Any] = self.connection.execute(query).fetchnumpy()
        return found

    def numbers(self, sql: str, cells: Sequence[str], times: Sequence[int]) -> tuple[Numbers, NDArray[np.int64]]:
        """What `sql` makes of each `cell`, NaN for NULL, and beside it how many times it is there; in any order."""
        given = {"cell": np.array(cells, object), "times": np.array(times, np.int64)}
        self.connection.register("given", given)
        found = self.arrays(f"SELECT CAST({sql} AS DOUBLE) AS read, times FROM given")  # noqa: S608
        self.connection.unregister("given")
        return filled(found["read"]), found["times"]


def stretches(rows: int, most: int) -> str:
    """A condition on `file_row_number` that so many of the rows fulfil, or all if there are no more."""
    if rows <= most:
        return "true"
    length = most // _STRETCHES
    begins = [number * (rows - length) // (_STRETCHES - 1) for number in range(_STRETCHES)]
    return " OR ".join(f"file_row_number BETWEEN {begin} AND {begin + length - 1}" for begin in begins)


def filled(column: Any) -> Numbers:
    """As numbers, with NaN where there is none, or one of which nothing can be told."""
    numbers: Numbers = np.ma.filled(np.ma.asarray(column).astype(np.float64), np.nan)
    numbers[np.abs(numbers) > _LARGEST] = np.nan
    return numbers


def cut(column: str, most: int) -> str:
    return f"left({identifier(column)}, {most})"
