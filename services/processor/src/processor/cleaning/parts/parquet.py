"""How all Parquet files of a clean are written, so that those of its parts can become one."""

from pathlib import Path

import duckdb

from processor.cleaning.recipe.sql import literal

_OPTIONS = "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1"


def copied(connection: duckdb.DuckDBPyConnection, query: str, path: Path) -> None:
    # By statistics, a column in which there happens to be no null would have another schema.
    connection.execute("SET disabled_optimizers = 'statistics_propagation'")
    try:
        connection.execute(f"COPY ({query}) TO {literal(str(path))} ({_OPTIONS})")
    finally:
        connection.execute("RESET disabled_optimizers")
