"""Other files that rules look something up in: for DuckDB the relations `table_0`, `table_1`, …"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb

from processor.cleaning.reading.chunks_content import read_chunk
from processor.cleaning.reading.feed import feed_of, read_raw
from processor.cleaning.reading.options import options_from
from processor.cleaning.survey import Survey, opened, survey
from processor.step import StepError


def columns_of(tables: Mapping[str, Path]) -> dict[str, Sequence[str]]:
    """What the columns of each are called. Raises `StepError` that names the one that is no table."""
    return {name: _surveyed(name, path).layout.names for name, path in tables.items()}


def load_tables(connection: duckdb.DuckDBPyConnection, tables: Mapping[str, Path], scratch: str) -> None:
    """All cells are text. A record that is no row is in none."""
    for at, (name, path) in enumerate(tables.items()):
        layout, chunks = (found := _surveyed(name, path)).layout, found.chunks
        slots = [f"c{number}" for number in range(len(layout.names))]
        relation = f"table_{at}"
        connection.execute(f"CREATE TEMP TABLE {relation} ({', '.join(f'{slot} VARCHAR' for slot in slots)})")
        with opened(path) as fd:
            for chunk in chunks:
                content = read_chunk(fd, chunk, layout.table, layout.grammar)
                with feed_of(content, layout.grammar, len(slots), scratch) as feed:
                    read_raw(connection, feed, slots)
                    connection.execute(f"INSERT INTO {relation} FROM raw")


def _surveyed(name: str, path: Path) -> Survey:
    try:
        return survey(path, options_from({}))
    except StepError as wrong:
        raise StepError(wrong.code, f"The table {name:.80}: {wrong.detail}") from None
