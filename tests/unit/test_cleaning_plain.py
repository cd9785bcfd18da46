"""Cells that come out as they are, as their bytes tell: what is told is what the rules do, and a chunk that is written
so is as they write it."""

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import numpy as np
import pytest

from processor.cleaning.layout import Layout
from processor.cleaning.parquet.joining import join_parquet
from processor.cleaning.parts import part, plain
from processor.cleaning.parts.part import Cleaner
from processor.cleaning.reading import chunks
from processor.cleaning.reading.cells import HEAD_BYTES, Column
from processor.cleaning.reading.chunks import Table, cut
from processor.cleaning.recipe.applying import apply, prepare
from processor.cleaning.recipe.compiling import compile_recipe
from processor.cleaning.recipe.plain import plain_of
from processor.cleaning.recipe.sheet import Source
from processor.cleaning.recipe.validation import validate
from processor.cleaning.sql import TEXT, WHITE

NAMES = ("a", "b", "c")
_PIECES = {
    "text": ["a", "Z", "x y", "é", "я", "р", "中", "々", "à", "\x7f", "!", "~", "\U0001f600", "İ", *WHITE, '"'],
    "words": ["n/a", "N/A", "null", "-", "", "nul", "K", "k", "\u212a", "none at all, really", "İ", "я", "中"],
    "number": ["0", "1", "9", "42", "000", "123456", "99999999", ".", "-", "+", ",", "e", " ", "٣"],
    "boolean": ["true", "false", "True", "t", "1", "yes", " ", ""],
}
_RULES: list[tuple[str, dict[str, Any]]] = [
    ("text", {"rule": "trim"}),
    ("text", {"rule": "trim", "side": "left"}),
    ("text", {"rule": "trim", "side": "right"}),
    ("words", {"rule": "null_tokens", "tokens": ["n/a", "-", "none at all, really", "k", "i"]}),
    ("words", {"rule": "null_tokens", "tokens": ["n/a", "я"]}),
    ("words", {"rule": "null_tokens", "tokens": ["", "null"], "ignore_case": False}),
    ("number", {"rule": "integer", "columns": ["a"]}),
    ("number", {"rule": "integer", "columns": ["a"], "thousands": ".", "decimal": ",", "percent": True}),
    ("number", {"rule": "number", "columns": ["a"]}),
    ("number", {"rule": "number", "columns": ["a"], "decimal": ",", "thousands": "."}),
    ("number", {"rule": "decimal", "columns": ["a"], "scale": 2}),
    ("number", {"rule": "decimal", "columns": ["a"], "scale": 3, "precision": 6}),
    ("number", {"rule": "decimal", "columns": ["a"], "scale": 0}),
    ("day", {"rule": "date", "columns": ["a"]}),
    ("day", {"rule": "date", "columns": ["a"], "formats": ["%Y-%m-%d", "%d.%m.%Y"]}),
    ("boolean", {"rule": "boolean", "columns": ["a"]}),
]
_WHOLE = {"number": ["1", "-5.25", "0.5", "1234567890", "12.345"], "day": ["2021-04-03", "1000-01-31"]}


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection


@pytest.mark.parametrize(("kind", "rule"), _RULES, ids=[f"{rule['rule']}-{at}" for at, (_, rule) in enumerate(_RULES)])
def test_what_is_told_to_stay_is_neither_changed_nor_refused_by_the_rule(
    kind: str, rule: dict[str, Any], connection: duckdb.DuckDBPyConnection
) -> None:
    random = Random(kind)
    texts = ["", *_WHOLE.get(kind, ())]
    texts += {_day(random) if kind == "day" else _text(random, _PIECES[kind]) for _ in range(3000)}
    recipe = validate({"version": 1, "rules": [rule]}).recipe
    assert recipe is not None
    plan = compile_recipe(recipe, ["a"])
    plainly = plain_of(plan, ["a"])
    assert plainly is not None
    column = _column(texts)
    told = plainly.columns["a"].tell(column, column.heads())
    assert 2 < np.count_nonzero(told) < len(texts)

    rules = plan.first
    prepare(connection, rules)
    staying = [text for text, stays in zip(texts, told.tolist(), strict=True) if stays]
    connection.register("staying", {"c0": np.array(staying, object)})
    connection.execute("CREATE OR REPLACE TEMP TABLE raw AS SELECT CAST(c0 AS VARCHAR) AS c0 FROM staying")
    connection.unregister("staying")
    done = apply(connection, rules, Source("raw"))
    assert (done.rejected.total(), done.changed.total(), done.cleaned_rows) == (0, 0, len(staying))
    type_ = rules.columns[0].type
    read = "c0" if type_ == TEXT else f"CAST(nullif(c0, '') AS {type_})"
    assert connection.execute(f"SELECT c0 FROM ({done.cleaned})").fetchall() == (
        connection.execute(f"SELECT {read} FROM raw").fetchall()
    )


def _text(random: Random, pieces: list[str]) -> str:
    return "".join(random.choices(pieces, k=random.randint(1, 5)))


def _day(random: Random) -> str:
    year = random.choice(["2021", "2024", "1900", "1000", "0999", "9999", "20a1", "21"])
    month, day = random.choice(["01", "02", "11", "12", "13", "00", "2", "1x"]), random.randint(0, 33)
    mark = random.choice("----./")
    return random.choice(["", "", "", " "]) + mark.join((year, month, f"{day:02}")) + random.choice(["", "", "", "x"])


def _column(texts: list[str]) -> Column:
    encoded = [text.encode() for text in texts]
    lengths = np.array([len(text) for text in encoded], np.int32)
    # Between them stands what stands between cells.
    starts = np.cumsum(lengths + 1, dtype=np.int32) - lengths
    return Column(np.frombuffer(b"," + b",".join(encoded) + bytes(HEAD_BYTES), np.uint8), starts, lengths)


_RECIPE: list[dict[str, Any]] = [
    {"rule": "trim"},
    {"rule": "null_tokens", "columns": ["b", "c"], "tokens": ["n/a", "-"]},
    {"rule": "decimal", "columns": ["a"], "scale": 2},
    {"rule": "rename", "names": {"a": "c", "c": "a"}},
    {"rule": "date", "columns": ["b"], "on_error": "null"},
    {"rule": "inner_space", "columns": ["a"]},
    {"rule": "case", "columns": ["a"], "to": "lower"},
    {"rule": "range", "columns": ["c"], "min": -3, "max": 1000},
    {"rule": "schema", "columns": {"a": {"max_length": 30}}},
]
_GOOD = ["12.5", "", "-3", "2021-04-03", "1999-12-31", "", "a text longer than a head", "short", "я", "中文"]
_ODD = [
    "007", "1e5", "x", "2021-02-29", "3.4.2021", "-4", "A  text", "n/a", " x ", "\xa0", '"in, quotes"', '"" ""', '" "',
    '"a ""quoted"" one"', '5" disk', '""', '"two\nlines"', '"three\r\nlines"', '"unclosed', '"closed" twice', "a,b",
    "no \udcff text", "\0", "-", "\r", '  "',
]  # fmt: skip


@pytest.mark.parametrize("last", [{"rule": "trim"}, {"rule": "deduplicate", "columns": ["b"]}], ids=["rows", "staged"])
@pytest.mark.parametrize(
    ("encoding", "mark", "line_end"), [("utf-8", '"', "\n"), ("utf-8", "\\", "\r\n"), ("cp1252", '"', "\r")]
)
def test_a_chunk_of_plain_cells_is_written_as_the_rules_write_it(
    last: dict[str, Any],
    encoding: str,
    mark: str,
    line_end: str,
    tmp_path: Path,
    connection: duckdb.DuckDBPyConnection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chunks, "_PIECE_BYTES", 3000)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 20_000)
    random = Random(line_end)
    lines = []
    for at in range(4500):
        cells = [random.choice(_GOOD[:3]), random.choice(_GOOD[3:6]), random.choice(_GOOD[6:])]
        if random.random() < (0.02 if at < 3500 else 0.5):
            cells[random.randrange(3)] = random.choice(_ODD).replace('""', mark + '"')
        lines.append(",".join(cells))
    content = line_end.join(lines).encode("utf-8", "surrogateescape")
    if encoding == "cp1252":
        content = bytes(byte for byte in content if byte < 0x80)
    recipe = validate({"version": 1, "rules": [*_RECIPE, last]}).recipe
    assert recipe is not None
    file = tmp_path / "file"
    file.write_bytes(content)
    table = Table(0, len(content), encoding=encoding)
    layout = Layout(table, ",", '"', None if mark == '"' else mark, NAMES)
    written: list[bool] = []
    really = plain.write_plain

    def watched(*given: Any) -> Any:
        told = really(*given)
        written.append(told is not None)
        return told

    def clean(folder: Path) -> list[Any]:
        cleaner = Cleaner(connection, layout, compile_recipe(recipe, NAMES), str(tmp_path))
        counts, folders = [], []
        fd = os.open(file, os.O_RDONLY)
        try:
            for at, chunk in enumerate(cut(fd, table, layout.grammar)):
                folders.append(folder / f"{at}")
                folders[-1].mkdir(parents=True)
                counts.append(cleaner.clean(fd, chunk, folders[-1]))
        finally:
            os.close(fd)
        left: list[Any] = [counts, *(path.read_bytes() for one in folders if (path := one / "rejects.csv").exists())]
        for name in ("cleaned", "changes", "rejects"):
            # Which can only be done if those that were written so and those that were not have the same schema.
            join_parquet([path for one in folders if (path := one / f"{name}.parquet").exists()], folder / name)
            left.append(connection.execute(f"FROM read_parquet('{folder / name}')").fetchall())
        return left

    monkeypatch.setattr(part, "write_plain", watched)
    found = clean(tmp_path / "plain")
    assert written.count(True) > 2
    monkeypatch.setattr(part, "plain_of", lambda *_: None)
    assert found == clean(tmp_path / "exact")
