"""How all Parquet files of a clean are written, so that those of its parts can become one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb

from processor.cleaning.parquet import thrift
from processor.cleaning.parquet.footers import MAGIC, TAIL_BYTES, footer_length, moved
from processor.cleaning.sql import literal

# Texts of which many are the same get a dictionary; to try it with the others costs more than all else.
_OPTIONS = (
    "FORMAT parquet, PARQUET_VERSION v2, COMPRESSION snappy, DICTIONARY_SIZE_LIMIT 1000, WRITE_BLOOM_FILTER false, "
    "ROW_GROUP_SIZE 122880"
)
# What there is to optimise takes longer than the work, and what is computed would be moved to where it is computed
# twice. By statistics, a column in which there happens to be no null would have another schema.
_OPTIMIZERS = ("unused_columns", "column_lifetime")

_SCHEMA, _ROW_GROUPS, _COLUMN_ORDERS = 2, 4, 7  # of the file
_CHILDREN = 5  # of a schema's root
_COLUMNS, _GROUP_BYTES, _GROUP_ROWS = 1, 2, 3  # of a row group


def copied(connection: duckdb.DuckDBPyConnection, query: str, path: Path) -> int:
    """How many rows there were."""
    with planned_simply(connection):
        (written,) = connection.execute(f"COPY ({query}) TO {literal(str(path))} ({_OPTIONS})").fetchall()
        return int(written[0])


@contextmanager
def planned_simply(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    names = [name for (name,) in connection.execute("SELECT name FROM duckdb_optimizers()").fetchall()]
    disabled = ",".join(name for name in names if name not in _OPTIMIZERS)
    connection.execute(f"SET disabled_optimizers = '{disabled}'")
    try:
        yield
    finally:
        connection.execute("RESET disabled_optimizers")


def side_by_side(paths: Sequence[Path], whole: Path) -> None:
    """Files of the same rows become one that has the columns of all."""
    said, begin = [], 0
    with whole.open("wb") as file:
        for path in paths:
            data = path.read_bytes()
            length = footer_length(data[-TAIL_BYTES:])
            end = len(data) - TAIL_BYTES - length
            file.write(data[:end])
            said.append(moved(data[end : end + length], begin))
            begin += end
        joined, *others = said
        for other in others:
            joined[_SCHEMA][1].values.extend(other[_SCHEMA][1].values[1:])
            groups, more = joined[_ROW_GROUPS][1].values, other[_ROW_GROUPS][1].values
            for group, beside in zip(groups, more, strict=True):
                assert group[_GROUP_ROWS] == beside[_GROUP_ROWS]
                group[_COLUMNS][1].values.extend(beside[_COLUMNS][1].values)
                group[_GROUP_BYTES] = (group[_GROUP_BYTES][0], group[_GROUP_BYTES][1] + beside[_GROUP_BYTES][1])
            if _COLUMN_ORDERS in joined:
                joined[_COLUMN_ORDERS][1].values.extend(other[_COLUMN_ORDERS][1].values)
        root = joined[_SCHEMA][1].values[0]
        root[_CHILDREN] = (root[_CHILDREN][0], len(joined[_SCHEMA][1].values) - 1)
        footer = thrift.write(joined)
        file.write(footer + len(footer).to_bytes(4, "little") + MAGIC)


def without_last_columns(path: Path, count: int) -> None:
    """The file's footer does not speak of them any more. Their bytes stay in it."""
    with path.open("r+b") as file:
        file.seek(-TAIL_BYTES, 2)
        end = file.tell()
        length = footer_length(file.read())
        file.seek(end - length)
        said = thrift.read(file.read(length))
        schema = said[_SCHEMA][1].values
        del schema[-count:]
        kind, children = schema[0][_CHILDREN]
        schema[0][_CHILDREN] = (kind, children - count)
        for group in said[_ROW_GROUPS][1].values:
            del group[_COLUMNS][1].values[-count:]
        if _COLUMN_ORDERS in said:
            del said[_COLUMN_ORDERS][1].values[-count:]
        footer = thrift.write(said)
        file.seek(end - length)
        file.truncate()
        file.write(footer + len(footer).to_bytes(4, "little") + MAGIC)
