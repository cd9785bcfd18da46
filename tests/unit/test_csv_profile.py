"""What `csv-profile` finds in a file, and what it says of files that are none of its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from processor.cleaning.profile import profile
from processor.step import StepError, Task

Profile = Callable[..., dict[str, Any]]


@pytest.fixture
def profiled(tmp_path: Path) -> Profile:
    def of(content: bytes, *, memory_mb: int = 256) -> dict[str, Any]:
        (tmp_path / "scratch").mkdir(exist_ok=True)
        (tmp_path / "input").write_bytes(content)
        shares: list[float] = []
        task = Task("csv-profile", str(tmp_path / "input"), {}, str(tmp_path / "scratch"), memory_mb, 2)
        found = profile(task, lambda share, _message: shares.append(share))
        assert shares == sorted(shares), "progress does not go back"
        assert all(0 <= share <= 1 for share in shares)
        return found

    return of


def types(found: dict[str, Any]) -> list[str]:
    return [column["type"] for column in found["columns"]]


def test_rows_columns_types_nulls_and_distinct_values_are_counted(profiled: Profile) -> None:
    found = profiled(
        b"id,score,day,at,ok,name\n"
        b"1,1.5,2024-01-01,2024-01-01 10:00:00,true,ann\n"
        b"2,,2024-01-02,2024-01-01T11:30,false,bob\n"
        b'3,-2e3,2024-01-02,2024-01-02 00:00:00.5,true,"bob, ""the"" second"\n'
    )
    assert (found["rows"], found["rejected_rows"], found["notes"]) == (3, 0, [])
    assert types(found) == ["BIGINT", "DOUBLE", "DATE", "TIMESTAMP", "BOOLEAN", "VARCHAR"]
    assert [column["nulls"] for column in found["columns"]] == [0, 1, 0, 0, 0, 0]
    assert [column["distinct"] for column in found["columns"]] == [3, 2, 2, 3, 2, 3]
    assert all(column["distinct_is_exact"] for column in found["columns"])
    assert found["columns"][5]["longest"] == len('bob, "the" second')


@pytest.mark.parametrize(
    ("tail", "expected"),
    [(b"2.5\n", "DOUBLE"), (b"x\n", "VARCHAR"), (b"99999999999999999999\n", "DOUBLE"), (b"\n", "BIGINT")],
    ids=["a decimal", "a word", "a number that is too large", "nothing"],
)
def test_a_type_holds_for_the_last_value_as_for_the_first(profiled: Profile, tail: bytes, expected: str) -> None:
    assert types(profiled(b"a,b\n" + b"1,\n" * 5000 + tail.replace(b"\n", b",\n"))) == [expected, "VARCHAR"]


def test_decimals_are_not_taken_for_whole_numbers(profiled: Profile) -> None:
    """A cast to BIGINT rounds 1.5 instead of failing."""
    assert types(profiled(b"a\n1.5\n2.25\n")) == ["DOUBLE"]


def test_a_column_whose_first_values_come_late_has_their_type(profiled: Profile) -> None:
    found = profiled(b"a,b,c\n" + b"1,,\n" * 5000 + b"2,7,2024-05-05\n")
    assert types(found) == ["BIGINT", "BIGINT", "DATE"]
    assert found["columns"][1]["nulls"] == 5000


def test_what_does_not_fit_the_memory_is_estimated_and_says_so(profiled: Profile) -> None:
    rows = 700_000
    found = profiled(b"few,many\n" + b"".join(b"%d,value %d\n" % (n % 10, n) for n in range(rows)), memory_mb=128)
    few, many = found["columns"]
    assert (few["distinct"], few["distinct_is_exact"]) == (10, True)
    assert many["distinct_is_exact"] is False
    assert abs(many["distinct"] - rows) < 0.1 * rows


DIALECTS = {
    "semicolons, with decimal commas": (b"a;b\n1,5;2\n3,25;4\n", ";", True, 2),
    "tabs": (b"a\tb\n1\t2\n", "\t", True, 1),
    "pipes": (b"a|b\n1|2\n", "|", True, 1),
    "no header": (b"1,2\n3,4\n", ",", False, 2),
    "CRLF": (b"a,b\r\n1,2\r\n3,4\r\n", ",", True, 2),
    "CR": (b"a,b\r1,2\r3,4\r", ",", True, 2),
    "no last line's end": (b"a,b\n1,2", ",", True, 1),
    "one column": (b"a\n1\n\n2\n", ",", True, 3),
    "a line's end in a field": (b'a,b\n"x\ny",2\n"p\nq",3\n', ",", True, 2),
    "a line's end in the header": (b'"a\nb",c\n1,2\n', ",", True, 1),
    "a byte order mark before a quoted header": (b'\xef\xbb\xbf"a\nb",c\n1,2\n', ",", True, 1),
    "empty lines before it": (b"\n\na,b\n1,2\n", ",", True, 1),
    "a quote in the header": (b'"a""b\'c",b\n1,2\n', ",", True, 1),
}


@pytest.mark.parametrize(("content", "delimiter", "header", "rows"), DIALECTS.values(), ids=DIALECTS.keys())
def test_the_dialect_is_found(profiled: Profile, content: bytes, delimiter: str, header: bool, rows: int) -> None:
    found = profiled(content)
    assert (found["dialect"]["delimiter"], found["dialect"]["header"]) == (delimiter, header)
    assert (found["rows"], found["rejected_rows"]) == (rows, 0)


def test_names_are_made_distinct_and_the_missing_made_up_with_notes(profiled: Profile) -> None:
    found = profiled(b"a,,A,\na,1,2,3\n")
    assert [column["name"] for column in found["columns"]] == ["a", "column2", "A_3", "column4"]
    assert [note[:8] for note in found["notes"]] == ["Column 2", "Column 3", "Column 4"]


def test_a_title_above_the_table_is_left_out_with_a_note(profiled: Profile) -> None:
    found = profiled(b"Report of today\n\na,b,c\n1,2,3\n4,5,6\n")
    assert [column["name"] for column in found["columns"]] == ["a", "b", "c"]
    assert (found["rows"], found["dialect"]["skipped_lines"]) == (2, 2)
    assert "first 2 lines" in found["notes"][0]


@pytest.mark.parametrize(
    ("content", "rows", "rejected"),
    [
        (b"a,b,c\n1,2,3\n4,5\n6,7,8,9\n10,11,12\n", 2, 2),
        (b"a,b\n1,2\n3,4\n" + b'"never closed,5\n' + b"6,7\n" * 10, 2, 1),
        (b"a,b\n1,2,3\n4,5,6\n", 2, 0),
    ],
    ids=["too short and too long", "a quote that is not closed", "a header that is too short"],
)
def test_rows_that_do_not_fit_are_counted_and_noted(
    profiled: Profile, content: bytes, rows: int, rejected: int
) -> None:
    found = profiled(content)
    assert (found["rows"], found["rejected_rows"]) == (rows, rejected)
    assert found["notes"]


ENCODINGS = {
    "UTF-8": ("name\ncafé\n".encode(), "utf-8", ""),
    "UTF-16": ("name\ncafé\n".encode("utf-16"), "utf-16", "UTF-16"),
    "Windows-1252": ("name\ncafé\n".encode("cp1252"), "windows-1252", "not UTF-8"),
    "damaged UTF-8": ("name\ncafé\n".encode() + b"\xff\xfe\n", "utf-8", "From byte 11 on"),
    "a character cut off at the end": ("name\ncafé\n".encode() + b"\xc3", "utf-8", "From byte 11 on"),
    "a character across two chunks": (b"name\n" + b"x" * 9 + b"\n" * ((1 << 20) - 15) + "é\n".encode(), "utf-8", ""),
}


@pytest.mark.parametrize(("content", "encoding", "note"), ENCODINGS.values(), ids=ENCODINGS.keys())
def test_the_encoding_is_found_and_noted(profiled: Profile, content: bytes, encoding: str, note: str) -> None:
    found = profiled(content)
    assert found["dialect"]["encoding"] == encoding
    assert found["columns"][0]["distinct"] >= 1
    assert (note in found["notes"][0]) if note else (found["notes"] == [])


NO_CSV = {
    "nothing": (b"", "empty_file"),
    "white space": (b" \n\n\t", "empty_file"),
    "a NUL at the beginning": (b"a,b\n1,\x00\n", "not_csv"),
    "a NUL far behind": (b"a,b\n" + b"1,2\n" * 300_000 + b"3,\x004\n", "not_csv"),
    "control characters": (bytes(range(1, 256)) * 50, "not_csv"),
    "bzip2": (b"BZh91AY&SY", "not_csv"),
    "a PDF": (b"%PDF-1.7\n1 0 obj\n", "not_csv"),
    "JSON": (b' [{"a":1},\n{"a":2}]\n', "not_csv"),
    "HTML": (b"<!DOCTYPE html><html></html>", "not_csv"),
    "one line of 100 MB": (b"x" * 100_000_000, "line_too_long"),
    "a long line far behind": (b"a,b\n" + b"1,2\n" * 300_000 + b"x" * 3_000_000 + b",1\n", "line_too_long"),
}


@pytest.mark.parametrize(("content", "code"), NO_CSV.values(), ids=NO_CSV.keys())
def test_what_is_no_csv_is_refused_with_a_code_and_a_sentence(profiled: Profile, content: bytes, code: str) -> None:
    with pytest.raises(StepError) as refused:
        profiled(content)
    assert refused.value.code == code
    assert refused.value.detail.endswith(".")


def test_ten_thousand_columns_are_counted_within_the_memory(profiled: Profile) -> None:
    width = 10_000
    header = ",".join(f"column {number}" for number in range(width))
    rows = ["," * (width - 1), ",".join(str(number) for number in range(width)), "too,short"]
    found = profiled("\n".join([header, *rows, ""]).encode())
    assert (found["rows"], found["rejected_rows"], len(found["columns"])) == (2, 1, width)
    assert found["columns"][-1] == {
        "name": "column 9999",
        "type": "BIGINT",
        "nulls": 1,
        "distinct": 1,
        "distinct_is_exact": True,
        "longest": 4,
    }
