"""The cleaned rows of a chunk as bytes of the file that the recipe asks for: those of all chunks, one after the other,
are the file, but for what it begins with."""

from pathlib import Path

import duckdb

from processor.cleaning.recipe.document import Output
from processor.cleaning.sql import identifier, literal


def write_output(connection: duckdb.DuckDBPyConnection, folder: Path, output: Output) -> None:
    match output.format:
        case "csv":
            options = (
                f"FORMAT csv, HEADER false, DELIMITER {literal(output.delimiter)}, NULLSTR {literal(output.null)}, "
                f"NEW_LINE {literal(_NEW_LINES[output.line_end])}{', FORCE_QUOTE *' if output.quote == 'all' else ''}"
            )
        case "jsonl":
            options = "FORMAT json"
        case _:
            return
    cleaned = f"FROM read_parquet({literal(str(folder / 'cleaned.parquet'))})"
    columns = connection.execute(f"DESCRIBE {cleaned}").fetchall()
    if output.format == "csv" and len(columns) == 1 and not output.null:
        # A line with nothing on it is no row to most who read it.
        cleaned = f"SELECT coalesce(CAST({identifier(columns[0][0])} AS VARCHAR), '') {cleaned}"
    connection.execute(f"COPY ({cleaned}) TO {literal(str(folder / f'cleaned.{output.format}'))} ({options})")


_NEW_LINES = {"\n": r"\n", "\r\n": r"\r\n"}
