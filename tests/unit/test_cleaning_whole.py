"""A file is cleaned: in one go, or by the steps of csv-clean apart."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest

from fixtures.archives import gzipped
from processor.cleaning import files
from processor.cleaning.clean import clean_file
from processor.cleaning.options import clean_options
from processor.cleaning.reading import chunks
from processor.cleaning.room import Room
from processor.cleaning.running import interruptible
from processor.cleaning.steps import csv_part, csv_survey, csv_whole
from processor.cleaning.whole.tables import load_tables, look_at
from processor.inputs.opening import Input
from processor.step import StepError, StepStopped, Task

PEOPLE = (
    b"id;name;amount;day\r\n1;  Ada ;1,5;03.04.2021\r\n2;Bob;x;04.04.2021\r\n3;Bob;2;04.04.2021;9\r\n\r\n"
    b"4;Cyd;2;04.04.2021\r\n5;Dan;7;05.04.2021\r\n5;Dan;7;05.04.2021\r\n6;n/a;7;05.04.2021\r\n"
)
TYPES: list[dict[str, Any]] = [
    {"rule": "trim"},
    {"rule": "null_tokens"},
    {"rule": "integer", "columns": ["id"]},
    {"rule": "number", "columns": ["amount"], "decimal": ","},
    {"rule": "date", "columns": ["day"], "formats": ["%d.%m.%Y"]},
]
LOOKED_UP = {"rule": "foreign_key", "columns": ["name"], "table": "people", "references": ["who"]}
ONCE = [*TYPES, {"rule": "deduplicate"}]


def recipe(rules: Sequence[Mapping[str, Any]], **output: Any) -> dict[str, Any]:
    return {"recipe": {"version": 1, "rules": rules, "output": output}}


class Cleaning:
    """A folder to clean a file in."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def new_folder(self) -> Path:
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir()
        return folder

    def in_one_go(self, content: bytes, options: dict[str, Any], **tables: bytes) -> tuple[dict[str, Any], Path]:
        out, room = self.new_folder(), Room(400, 1, str(self.new_folder()))
        paths = {name: self.file(other) for name, other in tables.items()}
        given = clean_options({**options, "tables": dict.fromkeys(tables, "blob")})
        path = self.file(content)
        opened = Input(path, path.stat().st_size, (), None)
        return clean_file(opened, given, out, room, lambda _share, _message: None, paths), out

    def by_steps(self, content: bytes, options: dict[str, Any], **tables: bytes) -> tuple[dict[str, Any], Path]:
        """As the engine runs them, but with the places of files for their keys."""
        others = [str(self.file(other)) for other in tables.values()]
        options = {**options, "tables": dict.fromkeys(tables, "blob")}
        begun = self.task(content, options, inputs=others)
        surveyed = csv_survey(begun, lambda _share, _message: None)
        source = surveyed["source"] or begun.input
        parts = []
        for part in surveyed["parts"]:
            given = {name: surveyed[name] for name in ("layout", "recipe", "tables")} | {"chunks": part["chunks"]}
            start, end = part["range"]
            fetched = self.task(Path(source).read_bytes()[start:end], given, input_offset=start)
            parts.append(csv_part(fetched, lambda _share, _message: None))
        keys = [key for part in parts for key in part["files"]]
        given = {"recipe": surveyed["recipe"], "tables": [*tables], "parts": [part["files"] for part in parts]}
        whole = self.task(None, given, inputs=[surveyed["survey"], *keys, *others])
        if surveyed["needs_source"]:
            whole = replaced(whole, input=source)
        result = csv_whole(whole, lambda _share, _message: None)
        return result, Path(whole.outputs, "artifacts")

    def file(self, content: bytes) -> Path:
        path = self.new_folder() / "file.csv"
        path.write_bytes(content)
        return path

    def task(
        self, content: bytes | None, options: dict[str, Any], inputs: Sequence[str] = (), input_offset: int = 0
    ) -> Task:
        outputs = self.new_folder()
        return Task(
            step="",
            input="" if content is None else str(self.file(content)),
            inputs=tuple(inputs),
            input_offset=input_offset,
            options=options,
            scratch=str(self.new_folder()),
            outputs=str(outputs),
            output_key=str(outputs / "staged"),
            memory_mb=400,
            threads=1,
        )


def replaced(task: Task, **changes: Any) -> Task:
    return Task(**{name: getattr(task, name) for name in task.__struct_fields__} | changes)


@pytest.fixture
def cleaning(tmp_path: Path) -> Cleaning:
    return Cleaning(tmp_path)


def rows_of(path: Path) -> list[tuple[Any, ...]]:
    return duckdb.execute(f"SELECT * FROM '{path}'").fetchall()


def all_of(folder: Path) -> dict[str, Any]:
    return {path.name: rows_of(path) if path.suffix == ".parquet" else path.read_bytes() for path in folder.iterdir()}


def test_each_row_comes_out_or_is_kept_with_the_reason(cleaning: Cleaning) -> None:
    result, out = cleaning.in_one_go(PEOPLE, recipe(ONCE))
    assert result["rows"] == {"in": 7, "out": 4, "rejected": 2, "duplicates": 1}
    assert result["rejects"] == {"not_number": 1, "too_many_fields": 1}
    assert (out / "cleaned.csv").read_text() == (
        "id,name,amount,day\n1,Ada,1.5,2021-04-03\n4,Cyd,2.0,2021-04-04\n5,Dan,7.0,2021-04-05\n6,,7.0,2021-04-05\n"
    )
    assert (out / files.REJECTED_BYTES).read_bytes() == b"2;Bob;x;04.04.2021\r\n3;Bob;2;04.04.2021;9\r\n"
    assert rows_of(out / files.REJECTS) == [
        (2, 3, 45, 20, "amount", "not_number", "“x” is no number.", 3, "number"),
        (3, 4, 65, 22, None, "too_many_fields", "The row has 5 fields, the table 4 columns.", None, None),
    ]
    assert rows_of(out / files.DUPLICATES) == [(6, 8, 129, 20, 5, 5, "deduplicate")]
    changed = rows_of(out / files.CHANGES)
    assert changed[:2] == [(1, 2, "name", "  Ada ", "Ada", 0, "trim"), (1, 2, "amount", "1,5", "1.5", 3, "number")]
    assert 6 not in {row for row, *_ in changed}, "of a row that is not there any more, nothing was changed"
    assert result["changed_cells"] == len(changed) == sum(one["cells"] for one in result["changes"])


@pytest.mark.parametrize("rules", [TYPES, ONCE], ids=["chunk by chunk", "over all rows"])
@pytest.mark.parametrize(
    "output",
    [{}, {"format": "jsonl"}, {"format": "parquet"}, {"delimiter": ";", "line_end": "\r\n", "mark": True}],
    ids=["csv", "jsonl", "parquet", "csv of another dialect"],
)
def test_the_steps_apart_do_what_is_done_in_one_go(
    cleaning: Cleaning, monkeypatch: pytest.MonkeyPatch, rules: list[dict[str, Any]], output: dict[str, Any]
) -> None:
    result, out = cleaning.in_one_go(PEOPLE, recipe(rules, **output))
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 30)
    monkeypatch.setattr(chunks, "_PIECE_BYTES", 8)
    again, apart = cleaning.by_steps(PEOPLE, recipe(rules, **output))
    assert all_of(apart) == all_of(out)
    assert {**again, "input": None} == {**result, "input": None}


def test_a_table_without_rows_has_all_files(cleaning: Cleaning) -> None:
    for rules in (TYPES, ONCE):
        result, out = cleaning.by_steps(b"id;name;amount;day\r\n", recipe(rules) | {"reading": {"header": True}})
        assert result["rows"] == {"in": 0, "out": 0, "rejected": 0, "duplicates": 0}
        assert (out / "cleaned.csv").read_bytes() == b"id,name,amount,day\n"
        for name in (files.CLEANED, *files.LOGS):
            assert rows_of(out / name) == []


def test_what_another_file_has_not_is_rejected(cleaning: Cleaning) -> None:
    for way in (cleaning.in_one_go, cleaning.by_steps):
        result, out = way(
            b"id,name\n1,Ada\n2,Bob\n3,Cyd\n", recipe([LOOKED_UP]), people=b"who;city\nAda;Rome\nCyd;Oslo\n"
        )
        assert result["rejects"] == {"no_reference": 1}
        assert (out / files.REJECTED_BYTES).read_bytes() == b"2,Bob\n"
        assert (out / "cleaned.csv").read_text() == "id,name\n1,Ada\n3,Cyd\n"


def test_other_files_may_be_compressed_and_what_is_no_row_of_them_is_told(cleaning: Cleaning) -> None:
    people = gzipped(b"who,city\nAda,Rome\nBob,Oslo,9\nCyd,Kiel\n")
    result, out = cleaning.by_steps(b"id,name\n1,Ada\n2,Bob\n3,Cyd\n", recipe([LOOKED_UP]), people=people)
    assert [row[0] for row in rows_of(out / files.REJECTS)] == [2]
    note = "Nothing is looked up in 1 record of the table people, which can be read as no rows: too_many_fields (1)."
    assert result["notes"] == [note]


def test_what_other_files_are_is_decided_once(cleaning: Cleaning) -> None:
    """They were read through once for their columns' names, and twice more at the end."""
    people = cleaning.file(b"who;city\nAda;Rome\n")
    begun = cleaning.task(b"name\nAda\nBob\n", recipe([LOOKED_UP]) | {"tables": {"people": "b"}}, [str(people)])
    surveyed = csv_survey(begun, lambda _share, _message: None)
    people.write_bytes(b"Cyd;Kiel\nBob;Oslo\n")  # by itself, it has other columns
    given = {"recipe": surveyed["recipe"], "tables": ["people"], "parts": []}
    part = surveyed["parts"][0]
    own = {name: surveyed[name] for name in ("layout", "recipe", "tables")} | {"chunks": part["chunks"]}
    files_left = csv_part(cleaning.task(Path(begun.input).read_bytes(), own), lambda _share, _message: None)["files"]
    whole = cleaning.task(None, given | {"parts": [files_left]}, [surveyed["survey"], *files_left, str(people)])
    result = csv_whole(replaced(whole, input=begun.input), lambda _share, _message: None)
    assert result["rejects"] == {"no_reference": 1}


def test_other_files_are_looked_at_as_carefully_as_the_first(cleaning: Cleaning) -> None:
    wide, people = ",".join(f"c{at}" for at in range(10_000)).encode(), b"who\nAda\n"
    with pytest.raises(StepError, match=r"The table people: .* 10,000 columns") as failed:
        cleaning.by_steps(b"name\nAda\n", recipe([LOOKED_UP]), people=wide + b"\n" + wide)
    assert failed.value.code == "out_of_memory"

    stopped = threading.Event()

    def look() -> None:
        if stopped.is_set():
            raise StepStopped

    room = Room(400, 1, str(cleaning.new_folder()))
    others = look_at({"people": cleaning.file(people)}, room, look)
    stopped.set()
    with pytest.raises(StepStopped):
        look_at({"people": cleaning.file(people)}, room, look)
    with pytest.raises(StepStopped), room.connect() as connection:
        load_tables(connection, others, room, look)


def test_what_is_missing_is_the_same_whether_it_is_empty_or_null(cleaning: Cleaning) -> None:
    rules: list[dict[str, Any]] = [{"rule": "null_tokens", "tokens": ["-"]}, {"rule": "deduplicate"}]
    result, out = cleaning.in_one_go(b"a,b\nx,-\nx,\ny,\n", recipe(rules) | {"reading": {"header": True}})
    assert result["rows"]["duplicates"] == 1
    assert (out / "cleaned.csv").read_bytes() == b'a,b\nx,\ny,""\n'


def test_a_null_of_the_only_column_is_a_row_to_whoever_reads_it(cleaning: Cleaning) -> None:
    rules = [{"rule": "null_tokens", "tokens": ["-"]}]
    _, out = cleaning.in_one_go(b"a\nx\n-\ny\n", recipe(rules) | {"reading": {"header": True}})
    assert (out / "cleaned.csv").read_bytes() == b'a\nx\n""\ny\n'


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"recipe": {"version": 1, "rules": [{"rule": "trimm"}]}}, "recipe.rules[0].rule: There is no rule"),
        (recipe([{"rule": "trim", "columns": ["nmae"]}]), "recipe.rules[0].columns[0]: There is no column nmae"),
        ({"reading": {"delimiter": ""}}, "delimiter"),
        ({"recipes": {}}, "recipes"),
    ],
    ids=["rule", "column", "reading", "option"],
)
def test_what_is_wrong_with_the_options_is_said_with_its_place(
    cleaning: Cleaning, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(StepError) as wrong:
        cleaning.in_one_go(PEOPLE, options)
    assert says in wrong.value.detail


def test_a_query_that_takes_long_ends_when_nobody_wants_it_any_more() -> None:
    asked = threading.Event()

    def look() -> None:
        asked.set()
        raise StepStopped

    with duckdb.connect() as connection, pytest.raises(StepStopped), interruptible(connection, look):
        connection.execute("SELECT sum(a.range * b.range) FROM range(10_000_000) a, range(1_000_000) b").fetchall()
    assert asked.is_set()


def test_what_fails_by_itself_is_not_hidden() -> None:
    with (
        duckdb.connect() as connection,
        pytest.raises(duckdb.ConversionException),
        interruptible(connection, lambda: None),
    ):
        connection.execute("SELECT CAST('x' AS INTEGER)").fetchall()


@pytest.mark.parametrize("name", ["row_", "changed_", "CHANGED_", "place_", "line_", "file_row_number", "c1", "v0"])
@pytest.mark.parametrize("more", [[], [{"rule": "deduplicate"}]], ids=["chunk by chunk", "over all rows"])
def test_a_column_may_be_called_as_ours_are(cleaning: Cleaning, name: str, more: list[dict[str, Any]]) -> None:
    rules = [{"rule": "integer", "columns": [name]}, {"rule": "trim", "columns": ["x"]}, *more]
    result, out = cleaning.in_one_go(f"{name},x\n9,a \n5,b\n7,c\n".encode(), recipe(rules))
    assert rows_of(out / files.CLEANED) == [(9, "a"), (5, "b"), (7, "c")]
    assert [row[2:5] for row in rows_of(out / files.CHANGES)] == [("x", "a ", "a")]
    assert result["changed_cells"] == 1


def test_a_mark_that_begins_a_cell_stays_where_what_is_before_it_is_rejected(cleaning: Cleaning) -> None:
    content = 'a,b\nx, "y\ud800"\n\ufeffz,1\nw,2\nv,3\n'.encode("utf-16-le", "surrogatepass")
    reading = {"encoding": "utf-16-le", "delimiter": ",", "header": True, "quote": '"'}
    _, out = cleaning.in_one_go(content, recipe([]) | {"reading": reading})
    assert rows_of(out / files.CLEANED)[0] == ("\ufeffz", "1")


def test_a_header_that_is_not_of_the_encoding_is_a_header_still(cleaning: Cleaning) -> None:
    rows = "".join(f"{number},é,2\n" for number in range(50))
    result, _ = cleaning.in_one_go(b"id,pr\xe9nom,x\n" + rows.encode(), recipe([]) | {"reading": {"encoding": "utf-8"}})
    assert [column["name"] for column in result["columns"]] == ["id", "pr\ufffdnom", "x"]


@pytest.mark.parametrize("name", ["\0", "\ud800"], ids=["NUL", "surrogate"])
def test_a_name_that_is_no_text_is_refused_with_its_place(cleaning: Cleaning, name: str) -> None:
    with pytest.raises(StepError) as wrong:
        cleaning.in_one_go(b"a,b\n1,2\n", recipe([]) | {"reading": {"names": ["a", name]}})
    assert "names[1]" in wrong.value.detail
