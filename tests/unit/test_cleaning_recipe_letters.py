"""Words are found in whatever case they are written: DuckDB makes small letters in its own way."""

import sys
import unicodedata
from collections import Counter
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

from fixtures.recipes import outcome
from processor.cleaning.reading.dates import read_dates
from processor.cleaning.recipe.data.tables import countries, months
from processor.cleaning.recipe.rules.booleans import WORDS
from processor.cleaning.sql import lowered

DAY = {"rule": "date", "columns": ["a"], "formats": ["%B %d, %Y"]}


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection


def read(connection: duckdb.DuckDBPyConnection, rule: dict[str, Any], texts: list[str]) -> list[str | None]:
    """What becomes of each; None if its row is rejected."""
    rows = outcome(connection, ["a"], [rule], [{"a": text} for text in texts]).rows
    return [rows[at]["a"] if at in rows else None for at in range(len(texts))]


def in_capitals(word: str, language: str) -> str:
    return (word.replace("i", "İ") if language == "tr" else word).upper()


def test_small_letters_are_made_as_duckdb_makes_them(connection: duckdb.DuckDBPyConnection) -> None:
    old = unicodedata.ucd_3_2_0  # what is newer, not every version of Python knows
    letters = [sign for sign in map(chr, range(1, sys.maxunicode + 1)) if old.category(sign) in ("Lu", "Lt")]
    words = [*letters, "KASIM", "İSTANBUL", "ΚΎΠΡΟΣ", "Straße"]
    found = connection.execute("SELECT t, lower(t) FROM (SELECT unnest(?) AS t)", [words]).fetchall()
    assert [(text, small) for text, small in found if lowered(text) != small] == []


def test_months_in_capitals_are_read(connection: duckdb.DuckDBPyConnection) -> None:
    texts = [
        "KASIM 21, 2026",
        "ARALIK 31, 1999",
        "HAZİRAN 1, 2020",
        "Haziran 1, 2020",
        "mayıs 3, 2020",
        "KASIX 1, 2020",
    ]
    days = ["2026-11-21", "1999-12-31", "2020-06-01", "2020-06-01", "2020-05-03", None]
    assert read(connection, {**DAY, "languages": ["tr"]}, texts) == days
    greek = ["ΜΑΡΤΙΟΣ 2, 2021", "ΜΆΡΤΙΟΣ 2, 2021", "Μάρτιος 2, 2021", "ΑΥΓΟΥΣΤΟΥ 2, 2021"]
    assert read(connection, {**DAY, "languages": ["el"]}, greek) == [*["2021-03-02"] * 3, "2021-08-02"]


def test_each_month_of_each_language_is_the_same_in_capitals(connection: duckdb.DuckDBPyConnection) -> None:
    for language, names in months().items():
        texts = [f"{in_capitals(name, language)} 1, 2020" for name in names if name.isalpha()]
        days = [f"2020-{month:02}-01" for name, month in names.items() if name.isalpha()]
        assert read(connection, {**DAY, "languages": [language]}, texts) == days, language


def test_each_word_for_yes_and_no_is_the_same_in_capitals(connection: duckdb.DuckDBPyConnection) -> None:
    for language, (yes, no) in WORDS.items():
        texts = [in_capitals(word, language) for word in (*yes, *no)]
        wanted = [*["true"] * len(yes), *["false"] * len(no)]
        rule = {"rule": "boolean", "columns": ["a"], "languages": [language]}
        assert read(connection, rule, texts) == wanted, language


def test_each_name_of_a_country_is_the_same_in_capitals(connection: duckdb.DuckDBPyConnection) -> None:
    named = {(name, language) for one in countries().values() for language, all_ in one.names.items() for name in all_}
    pairs = sorted(named)
    rule = {"rule": "country", "columns": ["a"], "on_error": "null"}
    as_they_are = read(connection, rule, [name for name, _ in pairs])
    assert read(connection, rule, [in_capitals(*pair) for pair in pairs]) == as_they_are


def test_what_is_compared_without_its_case_is_found_as_it_is_written(connection: duckdb.DuckDBPyConnection) -> None:
    rule = {"rule": "map", "columns": ["a"], "values": {"İstanbul": "IST", "Σ": "sum"}, "ignore_case": True}
    assert read(connection, rule, ["İstanbul", "İSTANBUL", "istanbul", "σ"]) == ["IST", "IST", "IST", "sum"]
    none = {"rule": "null_tokens", "columns": ["a"], "tokens": ["Değer İyi"]}
    assert read(connection, none, ["Değer İyi", "DEĞER İYİ", "değer iyi", "x"]) == [None, None, None, "x"]


def test_turkish_months_in_capitals_are_seen_in_a_file() -> None:
    texts = ["21 KASIM 2026", "31 ARALIK 1999", "1 HAZİRAN 2020", "2 MAYIS 2020"]
    found = read_dates(Counter(texts), texts, None)
    assert found is not None
    assert (found.fitting, found.formats, found.language) == (1.0, ("%d %B %Y",), "tr")
