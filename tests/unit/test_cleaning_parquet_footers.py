"""Parquet files joined by their footers alone, read by DuckDB as one."""

import io
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.cleaning.parquet import thrift
from processor.cleaning.parquet.footers import (
    TAIL_BYTES,
    CannotJoin,
    ParquetFile,
    footer_length,
    joined_footer,
)

_VALUES = """
    n, 'text ' || (n % 97) AS t, n / 7.0 AS d,
    DATE '2020-01-01' + n::INTEGER AS day, [n, n + 1] AS l, nullif(n % 5, 0) AS z
"""


def rows_of(query: str) -> list[Any]:
    return duckdb.execute(query).fetchall()


def written(path: Path, first: int, rows: int, options: str = "") -> Path:
    duckdb.execute(
        f"COPY (SELECT {_VALUES} FROM range({first}, {first + rows}) AS r (n)) TO '{path}' (FORMAT parquet {options})"
    )
    return path


def join(paths: list[Path], into: Path) -> Path:
    files = []
    with into.open("wb") as whole:
        for path in paths:
            data = path.read_bytes()
            length = footer_length(data[-TAIL_BYTES:])
            end = len(data) - TAIL_BYTES - length
            whole.write(data[:end])
            files.append(ParquetFile(end, data[end : end + length]))
        whole.write(joined_footer(files))
    return into


@pytest.mark.parametrize("options", ["", ", COMPRESSION zstd", ", PARQUET_VERSION v2", ", ROW_GROUP_SIZE 2048"])
def test_files_become_one_with_all_their_rows_in_order(tmp_path: Path, options: str) -> None:
    sizes = (5_000, 1, 0, 12_345)
    paths = [written(tmp_path / f"{at}", sum(sizes[:at]), rows, options) for at, rows in enumerate(sizes)]
    whole = join(paths, tmp_path / "whole.parquet")
    expected = rows_of(f"SELECT {_VALUES} FROM range({sum(sizes)}) AS r (n)")
    assert rows_of(f"SELECT * FROM read_parquet('{whole}')") == expected
    # Statistics and filters that skip row groups go by what the footer says.
    assert rows_of(f"SELECT count(*) FROM read_parquet('{whole}') WHERE n = 5000 AND t = 'text 53'") == [(1,)]
    assert rows_of(f"SELECT sum(num_rows) FROM parquet_file_metadata('{whole}')") == [(sum(sizes),)]


def test_a_joined_file_can_be_joined(tmp_path: Path) -> None:
    first = join([written(tmp_path / "a", 0, 10), written(tmp_path / "b", 10, 10)], tmp_path / "ab")
    whole = join([first, written(tmp_path / "c", 20, 10)], tmp_path / "abc")
    assert [row[0] for row in rows_of(f"SELECT n FROM read_parquet('{whole}')")] == list(range(30))


def test_files_of_other_columns_are_not_joined(tmp_path: Path) -> None:
    other = tmp_path / "other"
    duckdb.execute(f"COPY (SELECT 1 AS x) TO '{other}' (FORMAT parquet)")
    with pytest.raises(CannotJoin, match="one schema"):
        join([written(tmp_path / "a", 0, 10), other], tmp_path / "whole")


def test_what_is_no_parquet_is_not_joined() -> None:
    with pytest.raises(CannotJoin, match="no Parquet"):
        footer_length(b"12345678")
    for footer in (b"", b"\x00", b"\x19\xff\xff", b"\x1c" * 1000, b"\x15" + b"\xff" * 20):
        with pytest.raises(CannotJoin):
            joined_footer([ParquetFile(4, footer)])


@given(st.binary(max_size=200))
def test_whatever_the_bytes_are_they_are_read_or_refused(data: bytes) -> None:
    try:
        fields = thrift.read(data)
    except thrift.NotThrift:
        return
    assert thrift.read(thrift.write(fields)) == fields


def test_a_footer_that_is_read_and_written_is_the_same(tmp_path: Path) -> None:
    data = io.BytesIO(written(tmp_path / "a", 0, 10_000, ", ROW_GROUP_SIZE 2048").read_bytes()).getvalue()
    length = footer_length(data[-TAIL_BYTES:])
    footer = data[-TAIL_BYTES - length : -TAIL_BYTES]
    assert thrift.write(thrift.read(footer)) == footer
