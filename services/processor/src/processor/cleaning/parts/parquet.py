"""How all Parquet files of a clean are written, so that those of its parts can become one."""

from pathlib import Path

import duckdb

from processor.cleaning.recipe.sql import literal
from processor.cleaning.whole import thrift
from processor.cleaning.whole.parquet_join import MAGIC, TAIL_BYTES, footer_length

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
_COLUMNS = 1  # of a row group


def copied(connection: duckdb.DuckDBPyConnection, query: str, path: Path) -> int:
    """How many rows there were."""
    names = [name for (name,) in connection.execute("SELECT name FROM duckdb_optimizers()").fetchall()]
    disabled = ",".join(name for name in names if name not in _OPTIMIZERS)
    connection.execute(f"SET disabled_optimizers = '{disabled}'")
    try:
        (written,) = connection.execute(f"COPY ({query}) TO {literal(str(path))} ({_OPTIONS})").fetchall()
        return int(written[0])
    finally:
        connection.execute("RESET disabled_optimizers")


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
