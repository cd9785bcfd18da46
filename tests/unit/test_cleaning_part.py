"""A file cleaned chunk by chunk: each record comes out or is rejected, and all that is told of it is exact."""

import csv
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pytest

from fixtures.dirty_files import NAMES, make
from fixtures.recipe_reference import evaluate
from processor.cleaning.layout import Layout
from processor.cleaning.parquet.footers import TAIL_BYTES, ParquetFile, footer_length, joined_footer
from processor.cleaning.parts import wide
from processor.cleaning.parts.counts import PartCounts
from processor.cleaning.parts.part import Cleaner
from processor.cleaning.reading import chunks
from processor.cleaning.reading.chunks import Table, cut
from processor.cleaning.reading.chunks_content import needed_bytes
from processor.cleaning.recipe.compiling import Plan, compile_recipe
from processor.cleaning.recipe.validation import validate
from processor.cleaning.room import Room

RULES: list[dict[str, Any]] = [
    {"rule": "trim"},
    {"rule": "null_tokens", "columns": ["b ß", 'c"'], "tokens": ["NULL", "-", "n/a"]},
    {"rule": "integer", "columns": ["a"]},
    {"rule": "date", "columns": ["b ß"], "formats": ["iso", "%d.%m.%Y"], "on_error": "null"},
]
_ALL_ROWS = {"rule": "deduplicate", "columns": ["a"]}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "_PIECE_BYTES", 300)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 1200)


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection


class Cleaned:
    """What a clean of all chunks has left, each kind of file as one."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, folders: Sequence[Path], counts: list[PartCounts]
    ) -> None:
        self._connection = connection
        self._folders = folders
        self.counts = counts

    def bytes(self, name: str) -> bytes:
        return b"".join((folder / name).read_bytes() for folder in self._folders if (folder / name).exists())

    def rows(self, name: str, columns: str = "*") -> list[dict[str, Any]]:
        files, whole = [], self._folders[0].parent / name
        with whole.open("wb") as joined:
            for folder in self._folders:
                if not (folder / name).exists():
                    continue
                data = (folder / name).read_bytes()
                length = footer_length(data[-TAIL_BYTES:])
                end = len(data) - TAIL_BYTES - length
                joined.write(data[:end])
                files.append(ParquetFile(end, data[end : end + length]))
            joined.write(joined_footer(files))
        found = self._connection.execute(f"SELECT {columns} FROM read_parquet('{whole}')")
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def plan_of(*rules: dict[str, Any], **output: Any) -> Plan:
    verdict = validate({"version": 1, "rules": list(rules), "output": output})
    assert verdict.recipe is not None, verdict.problems
    return compile_recipe(verdict.recipe, NAMES)


def clean(
    connection: duckdb.DuckDBPyConnection,
    content: bytes,
    encoding: str,
    plan: Plan,
    folder: Path,
    names: tuple[str, ...] = NAMES,
    *,
    by_ranges: bool = False,
) -> Cleaned:
    path = folder / "file"
    path.write_bytes(content)
    fd = os.open(path, os.O_RDONLY)
    try:
        table = Table(0, len(content), encoding=encoding)
        layout = Layout(table, ",", '"', None, names)
        room = Room(200, 1, str(folder))
        counts, folders = [], []
        for at, chunk in enumerate(cut(fd, table, layout.grammar)):
            folders.append(folder / f"{at}")
            folders[-1].mkdir()
            start, source = 0, fd
            if by_ranges:
                start, end = needed_bytes(chunk, table, layout.grammar)
                source = os.memfd_create("range")
                os.write(source, content[start:end])
            try:
                with room.connect() as working:
                    cleaner = Cleaner(working, layout, plan, room.scratch)
                    counts.append(cleaner.clean(source, chunk, folders[-1], start))
            finally:
                if by_ranges:
                    os.close(source)
    finally:
        os.close(fd)
    return Cleaned(connection, folders, counts)


@pytest.mark.parametrize(
    ("encoding", "line_end", "by_ranges"),
    [
        ("utf-8", "\n", False),
        ("utf-8", "\r\n", True),
        ("utf-16-le", "\r\n", True),
        ("latin-1", "\n", False),
        ("latin-1", "\r", False),
    ],
)
def test_rejects_and_changes_are_exactly_those_of_the_file(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, encoding: str, line_end: str, by_ranges: bool
) -> None:
    made = make(Random(f"{encoding} {line_end}"), encoding, line_end, 300)
    cleaned = clean(connection, made.content, encoding, plan_of(*RULES), tmp_path, by_ranges=by_ranges)
    rows = [at for at, record in enumerate(made.records) if record.row is not None]
    outcome = evaluate(RULES, [row for record in made.records if (row := record.row) is not None])
    refused = {rows[at]: refusal for at, refusal in outcome.rejects.items()}
    assert len(cleaned.counts) > 3

    rejects = cleaned.rows("rejects.parquet")
    expected = [(at, one) for at, one in enumerate(made.records) if one.row is None or at in refused]
    assert [(one["row"], one["line"], one["byte_offset"], one["bytes"]) for one in rejects] == [
        (at + 1, one.line, one.start, len(one.content)) for at, one in expected
    ]
    assert cleaned.bytes("rejects.csv") == b"".join(one.content for _, one in expected)
    for (at, record), reject in zip(expected, rejects, strict=True):
        if at in refused:
            column, reason, rule = refused[at]
            assert (reject["column"], reject["reason"], reject["rule"]) == (column, reason, rule)
            assert reject["rule_name"] == RULES[rule]["rule"]
        else:
            assert reject["reason"] in record.reasons, record
            assert reject["rule"] is reject["rule_name"] is None
        assert reject["detail"].endswith(".")

    changes = cleaned.rows("changes.parquet")
    assert {(one["row"], one["column"], one["before"], one["after"], one["rule"]) for one in changes} == {
        (rows[at] + 1, column, before, after, rule) for at, column, before, after, rule in outcome.changes
    }
    assert all(one["line"] == made.records[one["row"] - 1].line for one in changes)
    assert [one["row"] for one in changes] == sorted(one["row"] for one in changes)

    kept = cleaned.rows("cleaned.parquet", "COLUMNS(*)::VARCHAR")
    assert [list(map(_null, row.values())) for row in kept] == [
        list(map(_null, row.values())) for _, row in sorted(outcome.rows.items())
    ]
    assert [list(map(_null, row)) for row in csv.reader(cleaned.bytes("cleaned.csv").decode().splitlines(True))] == [
        list(map(_null, row.values())) for row in kept
    ]
    assert sum(counts.blank_lines for counts in cleaned.counts) == made.blank_lines
    assert sum(counts.rows_in for counts in cleaned.counts) == len(made.records)
    assert sum(one.cells for counts in cleaned.counts for one in counts.changed) == len(changes)


def _null(cell: str | None) -> str | None:
    return cell or None


def test_rows_that_rules_for_all_rows_may_take_say_where_they_are(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    made = make(Random("all rows"), "utf-16-le", "\n", 100)
    cleaned = clean(connection, made.content, "utf-16-le", plan_of(*RULES, _ALL_ROWS), tmp_path)
    rows = cleaned.rows("cleaned.parquet")
    assert list(rows[0]) == ["row_", "line_", "byte_offset_", "bytes_", "c0", "c1", "c2"]
    for row in rows:
        record = made.records[row["row_"] - 1]
        assert (row["line_"], row["byte_offset_"], row["bytes_"]) == (record.line, record.start, len(record.content))
    assert cleaned.bytes("cleaned.csv") == b""


def test_an_output_is_written_in_its_dialect(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    content = b'1,2021-01-01,"a;b"\n2,,\n3,2021-01-02,"x""y"\n'
    dialect = {"delimiter": ";", "null": "-", "line_end": "\r\n", "header": True, "mark": True}
    plan = plan_of({"rule": "integer", "columns": ["a"]}, {"rule": "null_tokens", "tokens": [""]}, **dialect)
    cleaned = clean(connection, content, "utf-8", plan, tmp_path)
    assert cleaned.bytes("cleaned.csv") == b'1;2021-01-01;"a;b"\r\n2;-;-\r\n3;2021-01-02;"x""y"\r\n'


def test_json_lines_have_values_of_their_types(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    rules = [{"rule": "integer", "columns": ["a"]}, {"rule": "null_tokens", "columns": ["b ß"], "tokens": ["-"]}]
    cleaned = clean(connection, b'1,-,"a;b"\n2,x,\n', "utf-8", plan_of(*rules, format="jsonl"), tmp_path)
    assert [json.loads(line) for line in cleaned.bytes("cleaned.jsonl").splitlines()] == [
        {"a": 1, "b ß": None, 'c"': "a;b"},
        {"a": 2, "b ß": "x", 'c"': ""},
    ]


def test_a_line_that_is_too_long_is_one_reject_that_is_copied_as_it_is(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    long = b"x" * (3 << 20) + b"\r\n"
    content = b"1,2021-01-01,a\n" + long + b"2,2021-01-02,b\n"
    cleaned = clean(connection, content, "utf-8", plan_of(*RULES), tmp_path)
    assert cleaned.bytes("rejects.csv") == long
    (reject,) = cleaned.rows("rejects.parquet")
    assert (reject["row"], reject["line"], reject["byte_offset"], reject["bytes"]) == (2, 2, 15, len(long))
    assert reject["reason"] == "record_too_long"
    assert cleaned.rows("cleaned.parquet", "a") == [{"a": 1}, {"a": 2}]


def test_what_there_is_none_of_is_not_written(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    clean(connection, b"1,2021-01-01,a\n", "utf-8", plan_of(*RULES, format="parquet"), tmp_path)
    assert [path.name for path in (tmp_path / "0").iterdir()] == ["cleaned.parquet"]


@pytest.mark.parametrize("stages", [(), (_ALL_ROWS,)], ids=["rows", "rows for all"])
def test_column_by_column_the_same_comes_out(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stages: Any
) -> None:
    made = make(Random("groups"), "utf-8", "\n", 150)
    plan = plan_of(*RULES, *stages)
    found = []
    for widest in (64, 1):
        monkeypatch.setattr(wide, "WIDEST", widest)
        folder = tmp_path / f"{widest}"
        folder.mkdir()
        cleaned = clean(connection, made.content, "utf-8", plan, folder)
        told = [cleaned.rows(name) for name in ("cleaned.parquet", "rejects.parquet", "changes.parquet")]
        told[2].sort(key=lambda change: (change["row"], change["rule"], change["column"]))
        found.append((cleaned.counts, cleaned.bytes("rejects.csv"), cleaned.bytes("cleaned.csv"), *told))
    assert found[0] == found[1]
