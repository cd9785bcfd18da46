"""The cleaned rows of a chunk as bytes of the file that the recipe asks for: those of all chunks, one after the other,
are the file, but for what it begins with."""

from pathlib import Path

import duckdb

from processor.cleaning.recipe.document import Output
from processor.cleaning.recipe.sql import literal


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
    connection.execute(f"COPY ({cleaned}) TO {literal(str(folder / f'cleaned.{output.format}'))} ({options})")


_NEW_LINES = {"\n": r"\n", "\r\n": r"\r\n"}
