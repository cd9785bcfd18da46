"""All rows of a file as text, beside each other in Parquet: DuckDB reads them again and again, a column at a time and
within its memory."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np

from processor.cleaning.reading.chunks import Chunk
from processor.cleaning.reading.chunks_content import read_chunk
from processor.cleaning.reading.feed import feed_of, read_raw
from processor.cleaning.reading.records_grammar import Fault
from processor.cleaning.recipe.sheet import ROW
from processor.cleaning.room import Room
from processor.cleaning.sql import literal
from processor.cleaning.survey import Survey


@dataclass(frozen=True, slots=True)
class Rows:
    """What rules can work on: `row_`, 1-based as in the file, and the cells as `c0`, `c1`, …"""

    names: tuple[str, ...]
    files: tuple[Path, ...]
    count: int
    misfits: Mapping[str, int]  # records that are no rows, by reason

    @property
    def relation(self) -> str:
        if not self.files:
            cells = ", ".join(f"NULL::VARCHAR AS c{at}" for at in range(len(self.names)))
            return f"(SELECT 0::BIGINT AS {ROW}, {cells} WHERE false)"
        return f"read_parquet([{', '.join(literal(str(file)) for file in self.files)}])"

    def slot(self, name: str) -> str:
        return f"c{self.names.index(name)}"


def gather(fd: int, survey: Survey, folder: Path, room: Room, on_chunk: Callable[[Chunk], None]) -> Rows:
    layout, misfits = survey.layout, Counter[str]()
    slots = [f"c{at}" for at in range(len(layout.names))]
    files: list[Path] = []
    count = 0
    with room.connect() as connection:
        for at, chunk in enumerate(survey.chunks):
            content = read_chunk(fd, chunk, layout.table, layout.grammar)
            with feed_of(content, layout.grammar, len(slots), room.scratch) as feed:
                read_raw(connection, feed, slots)
                misfits.update(Fault(fault).code for fault in feed.rejects.faults.tolist())
                if len(feed.rows):
                    files.append(folder / f"rows-{at}.parquet")
                    connection.register("places", {ROW: feed.rows.astype(np.int64) + chunk.row})
                    copy(connection, "SELECT p.row_, r.* FROM places p POSITIONAL JOIN raw r", files[-1])
                    connection.unregister("places")
                    count += len(feed.rows)
            on_chunk(chunk)
    return Rows(layout.names, tuple(files), count, dict(misfits))


def copy(connection: duckdb.DuckDBPyConnection, query: str, file: Path) -> None:
    connection.execute(f"COPY ({query}) TO {literal(str(file))} (FORMAT parquet, COMPRESSION snappy)")
