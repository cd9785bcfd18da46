"""What a report says is what a straightforward count over the same files says."""

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import duckdb
import msgspec
import pytest

from fixtures.finished_cleans import cleaned
from fixtures.order_files import RULES, orders
from fixtures.recipes import recipe_of
from processor.cleaning.reading.options import options_from
from processor.cleaning.report import facts_columns
from processor.cleaning.report.document import ColumnReport, Report, Spread
from processor.cleaning.report.facts import MOST_DETAILED, Clean, facts_of
from processor.cleaning.report.making import make_report
from processor.cleaning.report.schema import published
from processor.cleaning.report.tables import open_tables
from processor.cleaning.room import Room
from processor.cleaning.sql import literal
from processor.cleaning.survey import survey
from processor.language.json_schemas import compiled
from processor.step import StepStopped

Cells = Sequence[dict[str, Any]]


def _facts(clean: Clean, tmp_path: Path) -> Report:
    with open_tables(clean.files, Room(360, 1, str(tmp_path)), lambda: None) as tables:
        return facts_of(clean, tables)


def _rows(clean: Clean, name: str) -> list[dict[str, Any]]:
    path = clean.files / f"{name}.parquet"
    if not path.exists():
        return []
    with duckdb.connect() as connection:
        found = connection.execute(f"SELECT * FROM read_parquet({literal(str(path))})")
        names = [one[0] for one in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _records(content: bytes) -> list[list[str]]:
    """Of the file, by Python's own reader: those without quotes that are never closed."""
    text = "\n".join(line for line in content.decode().split("\r\n") if "never closed" not in line)
    header, *records = csv.reader(io.StringIO(text), delimiter=";", quoting=csv.QUOTE_NONE)
    return [record for record in records if len(record) == len(header)]


def _column(report: Report, name: str) -> ColumnReport:
    (found,) = (column for column in report.columns if column.name == name)
    return found


def _is_missing(value: Any) -> bool:
    return value is None or value == ""


def _counts(spread: Spread) -> dict[str, int]:
    return {one.value: one.count for one in spread.top}


@pytest.mark.parametrize("seed", [1, 2])
def test_the_facts_are_those_of_a_plain_count(tmp_path: Path, seed: int) -> None:
    content = orders(800, seed)
    clean = cleaned(tmp_path / "clean", content, RULES)
    report = _facts(clean, tmp_path)
    out, changes, rejects = (_rows(clean, name) for name in ("cleaned", "changes", "rejects"))
    duplicates, findings = _rows(clean, "duplicates"), _rows(clean, "findings")

    assert report.rows.records == report.rows.out + report.rows.rejected + report.rows.duplicates
    assert report.rows.out == len(out)
    assert report.rows.rejected == len(rejects)
    assert report.rows.duplicates == len(duplicates) == report.duplicates.rows
    assert report.changed_cells == len(changes)
    assert sum(finding.cells for finding in report.findings) == len(findings) > 0

    by_rule = Counter(change["rule"] for change in changes)
    assert {rule.rule: rule.changed_cells for rule in report.rules if rule.changed_cells} == by_rule
    assert {rule.rule: rule.rejected_rows for rule in report.rules if rule.rejected_rows} == Counter(
        reject["rule"] for reject in rejects if reject["rule"] is not None
    )
    reasons = Counter((one["reason"], one["rule"], one["column"]) for one in rejects)
    assert {(one.reason, one.rule, one.column): one.rows for one in report.rejects.by_reason} == reasons

    over = report.rejects.over_file
    assert over is not None
    places = Counter((one["reason"], one["byte_offset"] * 60 // len(content)) for one in rejects)
    assert {
        (reason, part): count
        for reason, counts in zip(over.reasons, over.counts, strict=True)
        for part, count in enumerate(counts)
        if count
    } == places


@pytest.mark.parametrize("seed", [3, 4])
def test_missing_cells_of_before_follow_from_the_changes(tmp_path: Path, seed: int) -> None:
    content = orders(600, seed)
    clean = cleaned(tmp_path / "clean", content, RULES)
    report = _facts(clean, tmp_path)
    out = _rows(clean, "cleaned")
    gone = {one["row"] for name in ("rejects", "duplicates") for one in _rows(clean, name)}
    header, *lines = (line.split(";") for line in content.decode().split("\r\n"))
    kept = [cells for row, cells in enumerate((cells for cells in lines if cells != [""]), 1) if row not in gone]
    assert len(kept) == len(out)
    for column in report.columns:
        assert column.source is not None
        at = header.index(column.source)
        assert column.missing.before == sum(cells[at] == "" for cells in kept), column.name
        assert column.missing.after == sum(_is_missing(row[column.name]) for row in out), column.name
    assert _column(report, "unit_price").source == "Unit price"
    assert [(one.name, report.rules[one.rule].name) for one in report.dropped] == [("Till", "drop_columns")]


def test_distributions_are_of_all_rows_of_a_table_that_is_not_large(tmp_path: Path) -> None:
    content = orders(1500, 5)
    clean = cleaned(tmp_path / "clean", content, RULES)
    report = _facts(clean, tmp_path)
    out = _rows(clean, "cleaned")
    for name in ("Quantity", "unit_price", "Total"):
        values = [float(row[name]) for row in out if row[name] is not None]
        after = _column(report, name).after
        assert after is not None
        assert after.bins is not None
        assert (after.is_all, after.rows, after.readable) == (True, len(out), len(values))
        assert after.mean == pytest.approx(fmean(values))
        assert after.deviation == pytest.approx(stdev(values))
        assert after.distinct == len(set(values))
        edges = after.bins.edges
        for low, high, count in zip(edges, edges[1:], after.bins.counts, strict=False):
            assert count == sum(low <= value < high or value == high == edges[-1] for value in values)
        assert after.bins.below == sum(value < edges[0] for value in values)
        assert after.bins.above == sum(value > edges[-1] for value in values)
        least, most = _column(report, name).least, _column(report, name).most
        assert least is not None
        assert most is not None
        assert (float(least), float(most)) == (min(values), max(values))
    country = _column(report, "Country").after
    assert country is not None
    assert _counts(country) == Counter(row["Country"] for row in out if row["Country"] is not None)


def test_the_sample_of_before_is_all_of_a_small_file(tmp_path: Path) -> None:
    content = "name,born\n" + "".join(f"n{at % 7},{at % 28 + 1:02d}.03.2021\n" for at in range(300))
    clean = cleaned(
        tmp_path / "clean", content.encode(), [{"rule": "date", "columns": ["born"], "formats": ["%d.%m.%Y"]}]
    )
    assert (clean.sample.records, clean.sample.misfits, clean.sample.is_all) == (300, 0, True)
    report = _facts(clean, tmp_path)
    before, after = _column(report, "born").before, _column(report, "born").after
    assert before is not None
    assert after is not None
    assert before.bins is not None
    assert before.bins == after.bins
    assert before.bins.unit == "date"
    assert sum(before.bins.counts) == 300
    assert _counts(_column(report, "name").before or after) == Counter(f"n{at % 7}" for at in range(300))
    assert _column(report, "born").kind == "date as %d.%m.%Y"


def test_the_sample_of_before_is_spread_over_a_large_file(tmp_path: Path) -> None:
    count, path = 200_000, tmp_path / "large.csv"
    path.write_text("at,text\n" + "".join(f"{at},some text\n" for at in range(count)))
    sample = survey(path, options_from({})).sample
    places = [int(cell) for cell in sample.columns["at"]]
    assert (sample.is_all, sample.misfits, sample.records) == (False, 0, 4_000)
    assert Counter(place * 8 // count for place in places) == Counter(dict.fromkeys(range(8), 500))


def test_distributions_of_a_large_table_are_of_rows_spread_over_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts_columns, "_MOST_ROWS", 1_600)
    content = "at\n" + "".join(f"{at}\n" for at in range(20_000))
    clean = cleaned(tmp_path / "clean", content.encode(), [{"rule": "integer", "columns": ["at"]}])
    report = _facts(clean, tmp_path)
    after = report.columns[0].after
    assert after is not None
    assert (after.is_all, after.rows) == (False, 1_600)
    assert after.mean == pytest.approx(10_000, rel=0.01)
    assert (report.columns[0].least, report.columns[0].most) == ("0", "19999")


@pytest.mark.parametrize("cells", [["1e308", "-1e308", "1", "2"], ["5e-324", "0", "1e-323"], ["1e308"]])
def test_numbers_at_the_end_of_all_that_there_are_have_a_report(tmp_path: Path, cells: list[str]) -> None:
    """The distance of two of them is no number, nor is a part of that of two others: the clean crashed."""
    content = "id,n\n" + "".join(f"{at},{cell}\n" for at, cell in enumerate(cells))
    rule = {"rule": "number", "columns": ["n"]}
    column = _column(_facts(cleaned(tmp_path / "clean", content.encode(), [rule]), tmp_path), "n")
    assert column.after is not None
    assert column.after.readable in (None, sum(abs(float(cell)) < 1e150 for cell in cells))
    assert float(column.most or "") == max(map(float, cells))


def test_columns_are_followed_through_the_recipe(tmp_path: Path) -> None:
    content = "id,full,a,b\n1, Ada Lovelace ,x,\n2,,y,1\n3,Alan Turing,,2\n"
    rules: list[dict[str, Any]] = [
        {"rule": "trim", "columns": ["full"]},
        {"rule": "rename", "names": {"full": "person"}},
        {"rule": "case", "columns": ["person"], "to": "upper"},
        {"rule": "split", "column": "person", "into": ["first", "last"], "by": " "},
        {"rule": "merge", "columns": ["a", "b"], "into": "ab"},
        {"rule": "rename", "names": {"id": "full"}},
    ]
    report = _facts(cleaned(tmp_path / "clean", content.encode(), rules, reading={"header": True}), tmp_path)
    origins = {column.name: (column.source, column.made_of) for column in report.columns}
    assert origins == {
        "full": ("id", ()),
        "first": (None, ("full",)),
        "last": (None, ("full",)),
        "ab": (None, ("a", "b")),
    }
    assert [(one.name, one.rule) for one in report.dropped] == [("full", 3), ("a", 4), ("b", 4)]
    assert [(column.name, column.changed_cells) for column in report.columns if column.changed_cells] == []
    assert [column.missing.before for column in report.columns] == [0, None, None, None]


def test_correlations_are_of_rows_where_both_have_a_value(tmp_path: Path) -> None:
    lines = (f"{at},{-2 * at},{'' if at % 3 else at * at},7,{at}" for at in range(100))
    content = "a,b,c,same,text\n" + "\n".join(lines) + "\n"
    rules = [{"rule": "integer", "columns": ["a", "b", "c", "same"]}]
    report = _facts(cleaned(tmp_path / "clean", content.encode(), rules), tmp_path)
    found = report.correlations
    assert found is not None
    assert found.columns == ("a", "b", "c")
    assert found.values[0][:2] == (1.0, -1.0)
    squares = list(range(0, 100, 3))
    mean, of_squares = fmean(squares), fmean(at * at for at in squares)
    together = sum((at - mean) * (at * at - of_squares) for at in squares)
    apart = sum((at - mean) ** 2 for at in squares) * sum((at * at - of_squares) ** 2 for at in squares)
    assert found.values[0][2] == pytest.approx(together / apart**0.5, abs=1e-4)


def test_examples_of_rejects_are_how_their_records_begin(tmp_path: Path) -> None:
    content = f'a,b\n1,2\n3,4,5\n6,"x\n7,{"y" * 1000},z\n8,9\n'
    report = _facts(cleaned(tmp_path / "clean", content.encode(), reading={"quote": '"'}), tmp_path)
    texts = {example.line: example.text for example in report.rejects.examples}
    assert texts == {3: "3,4,5", 4: '6,"x', 5: "7," + "y" * 238 + "…"}


def test_a_file_of_two_bytes_a_character_is_sampled_and_quoted_as_text(tmp_path: Path) -> None:
    content = "ad;şehir\n" + "".join(f"{at};İzmir\n" for at in range(50)) + "9;ğ;y\n"
    clean = cleaned(tmp_path / "clean", content.encode("utf-16"))
    assert (clean.sample.records, clean.sample.misfits, clean.sample.is_all) == (50, 1, True)
    report = _facts(clean, tmp_path)
    assert [example.text for example in report.rejects.examples] == ["9;ğ;y"]
    before = _column(report, "şehir").before
    assert before is not None
    assert _counts(before) == {"İzmir": 50}


def test_rejects_that_do_not_fit_their_list_are_not_quoted(tmp_path: Path) -> None:
    clean = cleaned(tmp_path / "clean", b"a,b\n1,2\n3,4,5\n6,7\n")
    (clean.files / "rejects.csv").write_bytes(b"3,4,5\n6,7\n")
    assert [example.text for example in _facts(clean, tmp_path).rejects.examples] == [None]


@pytest.mark.parametrize("content", ["a,b\n", "a\n1\n2\n", "a,b\n,\n" * 5 + "x,y\n", 'n,"",x\n1,,\n2,,\n'])
def test_tables_at_the_edge_have_reports_that_the_schema_allows(tmp_path: Path, content: str) -> None:
    clean = cleaned(tmp_path / "clean", content.encode(), reading={"header": True})
    make_report(clean, Room(200, 1, str(tmp_path)), lambda share, message: None)
    document = json.loads((clean.files / "report.json").read_bytes())
    validator = compiled(published())
    assert [str(error) for error in validator.iter_errors(document)] == []
    assert msgspec.convert(document, Report).rows.out == clean.result["rows"]["out"]


def test_a_whole_report_is_what_the_schema_allows_and_nothing_else_is(tmp_path: Path) -> None:
    report = _facts(cleaned(tmp_path / "clean", orders(300, 6), RULES), tmp_path)
    document = msgspec.json.decode(msgspec.json.encode(report))
    validator = compiled(published())
    assert [str(error) for error in validator.iter_errors(document)] == []
    assert not validator.is_valid(document | {"version": 2})
    assert not validator.is_valid(document | {"rows": {}})


def test_of_very_many_columns_all_are_counted_and_the_most_changed_are_looked_at(tmp_path: Path) -> None:
    width = 2_500
    source, files = tmp_path / "source.csv", tmp_path / "clean"
    row = ",".join("x" for _ in range(width - 1))
    source.write_text(f"{','.join(f'c{at}' for at in range(width))}\n{row}, y\n{row},z\n,{row}\n")
    files.mkdir()
    found = survey(source, options_from({"header": True}))
    decisions = found.decisions
    columns = [{"name": name, "type": "VARCHAR"} for name in decisions.names.value]
    result = {"rows": {"in": 3, "out": 3, "rejected": 0, "duplicates": 0}, "columns": columns}
    recipe = recipe_of({"rule": "trim"})
    clean = Clean(files, result, recipe, decisions, found.sample)
    values = ", ".join(f"'x' AS c{at}" for at in range(1, width))
    change = f"""SELECT 1 AS row, 2 AS line, 'c{width - 1}' AS "column", ' y' AS before, 'y' AS after, 0 AS rule"""
    with duckdb.connect() as connection:
        rows = f"SELECT CASE WHEN range < 2 THEN 'x' ELSE '' END AS c0, {values} FROM range(3)"
        connection.execute(f"COPY ({rows}) TO '{files / 'cleaned.parquet'}'")
        connection.execute(f"COPY ({change}, 'trim' AS rule_name) TO '{files / 'changes.parquet'}'")
    report = _facts(clean, tmp_path)
    assert len(report.columns) == width
    detailed = [column.name for column in report.columns if column.after is not None]
    assert len(detailed) == report.measured.detailed_columns == MOST_DETAILED
    assert detailed[0] == "c0"
    assert detailed[-1] == f"c{width - 1}"
    assert [column.name for column in report.columns if column.missing.after] == ["c0"]


def test_a_report_that_is_not_wanted_any_more_is_not_written(tmp_path: Path) -> None:
    clean = cleaned(tmp_path / "clean", orders(200, 7), RULES)
    for written in clean.files.glob("report.*"):
        written.unlink()

    def stop(share: float, message: str | None) -> None:
        raise StepStopped

    with pytest.raises(StepStopped):
        make_report(clean, Room(200, 1, str(tmp_path)), stop)
    assert not list(clean.files.glob("report.*"))


def test_a_query_ends_when_it_is_not_wanted_any_more(tmp_path: Path) -> None:
    def stop() -> None:
        raise StepStopped

    with pytest.raises(StepStopped), open_tables(tmp_path, Room(200, 1, str(tmp_path)), stop) as tables:
        tables.run("SELECT count(*) FROM range(1_000_000) a, range(1_000_000) b WHERE (a.range + b.range) % 3 = 1")
