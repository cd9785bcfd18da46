"""Queries of the tables that a clean leaves: what can be asked, and that the answer is what a plain look at all rows
would give."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from operator import eq, ge, gt, itemgetter, le, lt
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.cleaning import running
from processor.cleaning.query import reading
from processor.cleaning.query.reading import table_query
from processor.cleaning.query.syntax import comparison, names
from processor.cleaning.sql import identifier
from processor.step import StepError, StepStopped, Task

VALUES: Mapping[str, st.SearchStrategy[Any]] = {
    "VARCHAR": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
    | st.sampled_from(["", "null", "a,b", '"', '"; DROP TABLE t; --', "' OR 1=1 --", "ada", "Ada"]),
    "BIGINT": st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3),
    "INTEGER": st.integers(-(2**31), 2**31 - 1) | st.integers(-3, 3),
    "DECIMAL(9,2)": st.decimals(-9999999, 9999999, places=2),
    "DOUBLE": st.floats(allow_nan=False, allow_infinity=False),
    "BOOLEAN": st.booleans(),
    "DATE": st.dates(),
    "TIMESTAMP": st.datetimes(),
}
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8) | (
    st.sampled_from(
        ["a,b", '"; drop table t', "-amount", " a ", "a=1", "file_row_number", "c0", "a:is:null", "count(*)"]
    )
)
TEN, MIDNIGHT = datetime.fromisoformat("2024-01-01T10:00"), datetime.fromisoformat("2024-01-02")
ORDERED = ["<", "<=", ">", ">=", ":between:"]


@dataclass
class Made:
    """A table, and a question about it."""

    names: list[str]
    types: list[str]
    rows: list[tuple[Any, ...]]

    def write(self, path: Path) -> None:
        columns = ", ".join(f"{identifier(name)} {type_}" for name, type_ in zip(self.names, self.types, strict=True))
        with duckdb.connect() as connection:
            connection.execute(f"CREATE TABLE made ({columns})")
            if self.rows:
                marks = ", ".join("?" for _ in self.names)
                connection.executemany(f"INSERT INTO made VALUES ({marks})", self.rows)
            connection.execute(f"COPY made TO '{path}' (FORMAT parquet)")


@st.composite
def tables(draw: st.DrawFn) -> Made:
    found = draw(st.lists(NAMES, min_size=1, max_size=4, unique_by=str.casefold))
    types = draw(st.lists(st.sampled_from(list(VALUES)), min_size=len(found), max_size=len(found)))
    rows = st.tuples(*(st.none() | VALUES[type_] for type_ in types))
    return Made(found, types, draw(st.lists(rows, max_size=12)))


@dataclass
class Question:
    where: list[str]
    holds: list[Callable[[tuple[Any, ...]], bool]]
    order: list[tuple[int, bool]]
    columns: list[int]
    limit: int
    offset: int

    def options(self, made: Made) -> dict[str, Any]:
        order = [("-" if descending else "") + quoted(made.names[at]) for at, descending in self.order]
        return {
            "where": self.where,
            "order": ",".join(order) or None,
            "columns": ",".join(quoted(made.names[at]) for at in self.columns),
            "limit": self.limit,
            "offset": self.offset,
        }

    def matching(self, made: Made) -> list[tuple[Any, ...]]:
        rows = [row for row in made.rows if all(holds(row) for holds in self.holds)]
        for at, descending in reversed(self.order):
            there = [row for row in rows if row[at] is not None]
            there.sort(key=itemgetter(at), reverse=descending)
            rows = there + [row for row in rows if row[at] is None]
        return rows


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def written(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case float():
            return repr(value)
        case datetime() | date():
            return value.isoformat()
        case _:
            return str(value)


@st.composite
def questions(draw: st.DrawFn) -> tuple[Made, Question]:
    made = draw(tables())
    where: list[str] = []
    holds: list[Callable[[tuple[Any, ...]], bool]] = []
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(made.names) - 1))
        type_, there = made.types[at], [row[at] for row in made.rows if row[at] is not None]
        values = VALUES[type_] | (st.sampled_from(there) if there else st.nothing())
        kinds = ["=", "!=", ":in:", ":is:null", ":not:null"]
        kinds += ORDERED if type_ != "BOOLEAN" else []
        kinds += ["~"] if type_ == "VARCHAR" else []
        kind = draw(st.sampled_from(kinds))
        given_ = draw(
            st.lists(values, min_size=2, max_size=2)
            if kind == ":between:"
            else st.lists(values, min_size=1, max_size=3)
        )
        where.append(quoted(made.names[at]) + kind + said(kind, given_))
        holds.append(condition(at, kind, given_))
    places = st.integers(0, len(made.names) - 1)
    order = draw(st.lists(st.tuples(places, st.booleans()), max_size=2, unique_by=lambda one: one[0]))
    columns = draw(st.lists(places, min_size=1, unique=True))
    return made, Question(where, holds, order, columns, draw(st.integers(1, 5)), draw(st.integers(0, 4)))


def said(kind: str, values: Sequence[Any]) -> str:
    match kind:
        case ":is:null" | ":not:null":
            return ""
        case ":in:" | ":between:":
            return ",".join(quoted(written(value)) for value in values)
        case _:
            return written(values[0])


def condition(at: int, kind: str, values: Sequence[Any]) -> Callable[[tuple[Any, ...]], bool]:
    compared = {"=": eq, "<": lt, "<=": le, ">": gt, ">=": ge}

    def holds(row: tuple[Any, ...]) -> bool:
        value = row[at]
        match kind:
            case ":is:null":
                return value is None
            case "!=":
                return bool(value != values[0])
            case _ if value is None:
                return False
            case ":not:null":
                return True
            case ":in:":
                return value in values
            case ":between:":
                return bool(values[0] <= value <= values[1])
            case "~":
                return values[0] in value
            case _:
                return bool(compared[kind](value, values[0]))

    return holds


def as_json(value: Any) -> Any:
    match value:
        case bool() | int() | float() | str() | None:
            return value
        case Decimal():
            return f"{value:.2f}"
        case datetime():
            return value
        case _:
            return value.isoformat()


def asked(path: Path, answer: str = "answer.json", **options: Any) -> tuple[dict[str, Any], bytes]:
    with TemporaryDirectory() as folder:
        wish: dict[str, Any] = {
            "where": [],
            "columns": None,
            "order": None,
            "limit": 100,
            "offset": 0,
            "count": True,
            "answer": answer,
        }
        scratch = Path(folder, "scratch")
        scratch.mkdir()
        task = Task("table-query", str(path), wish | options, str(scratch), 128, 1, outputs=folder)
        told = table_query(task, lambda _share, _message: None)
        return told, Path(folder, answer).read_bytes()


@settings(max_examples=20, deadline=None)
@given(questions())
def test_an_answer_is_what_a_plain_look_at_all_rows_gives(made_and_asked: tuple[Made, Question]) -> None:
    made, question = made_and_asked
    with TemporaryDirectory() as folder:
        path = Path(folder, "made.parquet")
        made.write(path)
        told, body = asked(path, **question.options(made))
    answer = json.loads(body)
    rows = question.matching(made)
    shown = rows[question.offset : question.offset + question.limit]
    assert [list(item) for item in answer["items"]] == [[made.names[at] for at in question.columns]] * len(shown)
    for item, row in zip(answer["items"], shown, strict=True):
        for value, at in zip(item.values(), question.columns, strict=True):
            if isinstance(row[at], datetime):
                assert datetime.fromisoformat(value) == row[at]
            else:
                assert value == as_json(row[at])
    there_is_more = len(rows) > question.offset + question.limit
    assert told == {"next_offset": question.offset + question.limit if there_is_more else None, "count": len(rows)}
    assert {name: answer[name] for name in told} == told


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("people") / "people.parquet"
    made = Made(
        ["name", "first name", "amount", "born", "seen", "rate", "is_in", 'a"b,c', "id"],
        ["VARCHAR", "VARCHAR", "DECIMAL(9,2)", "DATE", "TIMESTAMP", "DOUBLE", "BOOLEAN", "VARCHAR", "BIGINT"],
        [
            ("Ada", "a, b", Decimal("1.50"), date(2024, 2, 29), TEN, 0.5, True, "x", 1),
            ("Bob", "", None, date(2024, 3, 1), MIDNIGHT, None, False, None, 2),
            (None, 'q"', Decimal("-2.00"), None, None, 1e300, None, "y", 3),
        ],
    )
    made.write(path)
    return path


@pytest.mark.parametrize(
    ("where", "ids"),
    {
        "name=Ada": [1],
        "name~d": [1],
        "name!=Ada": [2, 3],
        "name:is:null": [3],
        "name:in:Ada,Bob": [1, 2],
        " name =Ada": [1],
        "first name=": [2],
        "first name=a, b": [1],
        'first name:in:"a, b","q"""': [1, 3],
        '"a""b,c"=x': [1],
        "amount>=-2": [1, 3],
        "amount<1.5": [3],
        "amount = 1.500": [1],
        "born:between:2024-02-01,2024-02-29": [1],
        "seen>2024-01-01": [1, 2],
        "seen=2024-01-01T10:00": [1],
        "seen<=2024-01-01 10:00:00": [1],
        "rate>1e3": [3],
        "is_in=TRUE": [1],
        "is_in:not:null": [1, 2],
        "name='; DROP TABLE t; --": [],
        "name=Ada' OR '1'='1": [],
    }.items(),
)
def test_a_condition_is_read_by_the_type_of_its_column(people: Path, where: str, ids: list[int]) -> None:
    _, body = asked(people, where=[where], columns="id")
    assert [item["id"] for item in json.loads(body)["items"]] == ids


@pytest.mark.parametrize(
    ("options", "place", "part"),
    [
        ({"where": ["nmae=1"]}, "where[0]", "There is no column nmae. Did you mean name?"),
        ({"where": ["id=1", '"; DROP TABLE people; --"=1']}, "where[1]", "There is no column ; DROP TABLE people; --."),
        ({"where": ['"id=1']}, "where[0]", "double quotes around it must be closed"),
        ({"where": ["id"]}, "where[0]", "Behind the column comes"),
        ({"where": ["id;DROP TABLE t"]}, "where[0]", "Behind the column comes"),
        ({"where": [""]}, "where[0]", "the name of a column is expected"),
        ({"where": ["id=1.5"]}, "where[0]", "The column id is BIGINT: '1.5' is not a whole number of 64 bits"),
        ({"where": [f"id={2**63}"]}, "where[0]", "64 bits"),
        ({"where": [f"id={'9' * 5000}"]}, "where[0]", "64 bits"),
        ({"where": ["id=1 OR 1=1"]}, "where[0]", "whole number"),
        ({"where": ["amount=1.005"]}, "where[0]", "at most 7 digits before its point and 2 behind it"),
        ({"where": ["amount=12345678"]}, "where[0]", "at most 7 digits"),
        ({"where": ["amount=1e3"]}, "where[0]", "at most 7 digits"),
        ({"where": ["rate=nan"]}, "where[0]", "a number, such as"),
        ({"where": ["rate=1e999"]}, "where[0]", "a number, such as"),
        ({"where": ["rate=."]}, "where[0]", "a number, such as"),
        ({"where": ["born=2023-02-29"]}, "where[0]", "a date, such as"),
        ({"where": ["born=01.02.2023"]}, "where[0]", "a date, such as"),
        ({"where": ["seen=2024-01-01T10:00Z"]}, "where[0]", "a time without a zone"),
        ({"where": ["seen=2024-01-01T25:00"]}, "where[0]", "a time without a zone"),
        ({"where": ["is_in=yes"]}, "where[0]", "true or false"),
        ({"where": ["is_in<true"]}, "where[0]", "does not go with <"),
        ({"where": ["id~1"]}, "where[0]", "does not go with ~"),
        ({"where": ["id:is:7"]}, "where[0]", "Only null"),
        ({"where": ["id:between:1"]}, "where[0]", "Between takes two values"),
        ({"where": ["id:in:" + ",".join(["1"] * 1001)]}, "where[0]", "at most 1,000 values"),
        ({"where": ['name:in:"a']}, "where[0]", "Put a value with commas or quotes into double quotes"),
        ({"where": ["id=1"] * 51}, "where", "at most 50 conditions"),
        ({"columns": "id,id"}, "columns", "Name each column once."),
        ({"columns": "*"}, "columns", "There is no column *."),
        ({"columns": "id,"}, "columns", "the name of a column is expected"),
        ({"columns": "count(id)"}, "columns", "There is no column count(id)."),
        ({"order": "id desc"}, "order", "There is no column id desc."),
        ({"order": "--id"}, "order", "There is no column -id."),
        ({"order": "(SELECT 1)"}, "order", "There is no column (SELECT 1)."),
    ],
)
def test_what_cannot_be_asked_is_told_with_its_parameter(
    people: Path, options: dict[str, Any], place: str, part: str
) -> None:
    with pytest.raises(StepError) as refused:
        asked(people, **options)
    assert refused.value.code == "invalid_query"
    (problem,) = refused.value.problems
    assert problem.place == place
    assert part in problem.detail


def test_rows_may_be_had_as_csv_in_which_null_is_nothing_and_an_empty_text_is_quoted(people: Path) -> None:
    _, body = asked(people, "answer.csv", columns='"a""b,c",first name,amount,seen', order="-id")
    assert body.decode() == (
        '"a""b,c",first name,amount,seen\ny,"q""",-2.00,\n,"",,2024-01-02 00:00:00\nx,"a, b",1.50,2024-01-01 10:00:00\n'
    )
    assert len(list(csv.reader(io.StringIO(body.decode())))) == 4


def test_what_is_no_table_and_what_is_too_much_is_told(people: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = people.with_name("other.parquet")
    other.write_bytes(b"PAR1 but it is none PAR1")
    with pytest.raises(StepError, match="cannot be read as Parquet"):
        asked(other)
    monkeypatch.setattr(reading, "MOST_BYTES", 200)
    with pytest.raises(StepError, match="Ask for fewer rows or columns"):
        asked(people)


def test_a_query_ends_when_nobody_wants_it_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_LOOK_SECONDS", 0.001)

    def report(_share: float, _message: str | None) -> None:
        raise StepStopped

    large = tmp_path / "large.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT range AS id, hash(range)::VARCHAR AS x FROM range(300000)) TO '{large}'")
    (tmp_path / "scratch").mkdir()
    wish = {"where": ["x~1", "x~2"], "columns": None, "order": "x,id", "limit": 100, "offset": 0, "count": True}
    options = {**wish, "answer": "answer.json"}
    task = Task("table-query", str(large), options, str(tmp_path / "scratch"), 128, 1, outputs=str(tmp_path))
    with pytest.raises(StepStopped):
        table_query(task, report)


def test_columns_of_types_that_a_clean_never_makes_are_shown_as_text(tmp_path: Path) -> None:
    path = tmp_path / "odd.parquet"
    with duckdb.connect() as connection:
        query = "SELECT [1.5::DECIMAL(18,2)] AS list, {'a': 1} AS struct, 'x'::BLOB AS blob, 7::UBIGINT AS big"
        connection.execute(f"COPY ({query}) TO '{path}'")
    _, body = asked(path, where=["list:not:null"])
    assert json.loads(body)["items"] == [{"list": "[1.50]", "struct": "{'a': 1}", "blob": "x", "big": "7"}]
    with pytest.raises(StepError, match="only null can be asked for"):
        asked(path, where=["list=1"])


def test_names_are_written_bare_or_in_quotes() -> None:
    assert names('a,first name," b ","c,d","e""f"') == ["a", "first name", " b ", "c,d", 'e"f']
    assert comparison("a:in:1,,2").values == ("1", "", "2")
    assert comparison("a=b=c").values == ("b=c",)
