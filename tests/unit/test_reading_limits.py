"""What is said of files that are none, of files that are much, and of options that cannot be."""

import random
import time
from pathlib import Path
from typing import Any

import pytest

from processor.cleaning.reading.deciding import Decisions, decide
from processor.cleaning.reading.options import options_from
from processor.step import StepError


def decided(folder: Path, content: bytes, **options: Any) -> Decisions:
    (folder / "input").write_bytes(content)
    return decide(folder / "input", options_from(options))


NO_CSV = {
    "nothing": (b"", "empty_file"),
    "white space": (b" \n\n\t", "empty_file"),
    "a byte order mark alone": (b"\xef\xbb\xbf", "empty_file"),
    "delimiters alone": (b",,\n,,\n", "empty_file"),
    "UTF-16 with nothing in it": (b"\xff\xfe", "empty_file"),
    "random bytes": (random.Random(7).randbytes(100_000), "not_csv"),
    "NULs": (bytes(1000), "not_csv"),
    "control characters": (bytes(range(1, 256)) * 50, "not_csv"),
    "a zip": (b"PK\x03\x04rest", "not_csv"),
    "bzip2": (b"BZh91AY&SY", "not_csv"),
    "a PDF": (b"%PDF-1.7\n1 0 obj\n", "not_csv"),
    "an Excel sheet of old": (b"\xd0\xcf\x11\xe0\xa1\xb1", "not_csv"),
    "Parquet": (b"PAR1\x15\x04", "not_csv"),
    "JSON": (b' [{"a":1},\n{"a":2}]\n', "not_csv"),
    "HTML": (b"<!DOCTYPE html><html></html>", "not_csv"),
    "a tar": (b"x" * 257 + b"ustar\x0000" + b"y" * 300, "not_csv"),
    "a first line of 3 MB": (b"x" * 3_000_000, "line_too_long"),
    "a first line of 1.5 MB, with fields": (b"x," * 750_000 + b"\n1,2\n", "line_too_long"),
}


@pytest.mark.parametrize(("content", "code"), NO_CSV.values(), ids=NO_CSV.keys())
def test_what_is_no_csv_is_refused_with_a_code_and_a_sentence(tmp_path: Path, content: bytes, code: str) -> None:
    with pytest.raises(StepError) as refused:
        decided(tmp_path, content)
    assert refused.value.code == code
    assert refused.value.detail.endswith(".")


WRONG_OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown field": ({"delimeter": ";"}, "delimeter"),
    "a number as the delimiter": ({"delimiter": 5}, "delimiter"),
    "an empty delimiter": ({"delimiter": ""}, "delimiter"),
    "a delimiter of five bytes": ({"delimiter": "§§§"}, "delimiter"),
    "a delimiter with a line end": ({"delimiter": "\n"}, "delimiter"),
    "a quote of two signs": ({"quote": "''"}, "quote"),
    "a quote that is the delimiter": ({"delimiter": "'", "quote": "'"}, "quote"),
    "a quote beyond ASCII": ({"quote": "“"}, "quote"),
    "an escape without quotes": ({"quote": None, "escape": "\\"}, "escape"),
    "an encoding that nobody knows": ({"encoding": "klingon"}, "encoding"),
    "an encoding that is no text": ({"encoding": "rot13"}, "encoding"),
    "a header that is a word": ({"header": "yes"}, "header"),
    "a table before the first": ({"table": 0}, "table"),
    "a table that is not there": ({"table": 2}, "table"),
    "lines before the first": ({"preamble_lines": -1}, "preamble_lines"),
    "more lines than there are": ({"preamble_lines": 100}, "preamble_lines"),
    "too few names": ({"names": ["a"]}, "names"),
    "the same name twice": ({"names": ["a", "A"]}, "names"),
    "a column that is not there": ({"columns": {"z": {"kind": "text"}}}, "columns.z"),
    "a kind that is none": ({"columns": {"a": {"kind": "number"}}}, "columns"),
}


@pytest.mark.parametrize(("options", "field"), WRONG_OPTIONS.values(), ids=WRONG_OPTIONS.keys())
def test_an_option_that_cannot_be_is_refused_by_its_name(tmp_path: Path, options: dict[str, Any], field: str) -> None:
    with pytest.raises(StepError) as refused:
        decided(tmp_path, b"a,b\n1,2\n", **options)
    assert refused.value.code == "invalid_option"
    assert f"`{field}" in refused.value.detail
    assert refused.value.detail.endswith(".")


def test_an_encoding_may_be_called_by_any_of_its_names(tmp_path: Path) -> None:
    assert decided(tmp_path, b"a\n1\n", encoding="latin5").encoding.value == "iso-8859-9"
    assert decided(tmp_path, b"a\n1\n", encoding="CP1254").encoding.value == "windows-1254"


def test_a_table_of_ten_thousand_columns_is_decided_soon(tmp_path: Path) -> None:
    width = 10_000
    row = ",".join(str(number) for number in range(width))
    content = ",".join(f"column {number}" for number in range(width)) + "\n" + f"{row}\n" * 100
    began = time.process_time()
    decisions = decided(tmp_path, content.encode())
    assert time.process_time() - began < 20
    assert len(decisions.columns) == width
    assert (decisions.header.value, decisions.columns[-1].kind.value.kind) == (True, "integer")


@pytest.mark.parametrize("line", [b'"\n', b'""\n', b'"""\n', b'"",\n', b'"a"b"\n'], ids=repr)
def test_a_file_of_quotes_is_decided_soon(tmp_path: Path, line: bytes) -> None:
    began = time.process_time()
    decided(tmp_path, line * (2_000_000 // len(line)))
    assert time.process_time() - began < 20


def test_a_large_file_is_read_in_samples_alone(tmp_path: Path) -> None:
    """Sparse: it has 8 GB, and nobody reads them."""
    head = b"id,name\n" + b"".join(b"%d,name %d\n" % (n, n) for n in range(200_000))
    with (tmp_path / "large").open("wb") as file:
        file.write(head)
        file.truncate(8 << 30)
    decisions = decide(tmp_path / "large", options_from({}))
    assert (decisions.bytes, decisions.delimiter.value) == (8 << 30, ",")


def test_what_only_the_middle_of_a_file_shows_counts_for_its_encoding_and_kinds(tmp_path: Path) -> None:
    early = "".join(f"{n};{n % 12 + 1:02}/{n % 11 + 1:02}/2021;Koeln\n" for n in range(200_000))
    late = "".join(f"{n};25/{n % 11 + 1:02}/2021;Köln\n" for n in range(200_000))
    decisions = decided(tmp_path, ("id;day;city\n" + early + late).encode("windows-1252"))
    assert decisions.encoding.value == "windows-1252"
    assert decisions.columns[1].kind.value.formats == ("%d/%m/%Y",)


def test_a_footer_at_the_end_of_a_large_file_is_found(tmp_path: Path) -> None:
    rows = b"".join(b"%d,item %d,1.50\n" % (n, n) for n in range(300_000))
    decisions = decided(tmp_path, b"id,item,price\n" + rows + b"\nTotal,,450000\n(300000 rows)\n")
    assert decisions.footer_lines.value == 3
    assert not decisions.footer_lines.overridden


def test_a_table_cut_within_a_quoted_field_of_the_sample_is_no_other_table(tmp_path: Path) -> None:
    rows = b"".join(b'%d,"two\nlines, %d",x\n' % (n, n) for n in range(200_000))
    decisions = decided(tmp_path, b"id,text,flag\n" + rows)
    assert len(decisions.tables) == 1
    assert len(decisions.columns) == 3
    assert decisions.footer_lines.value == 0


def test_offsets_are_of_the_bytes_as_they_are_in_the_file(tmp_path: Path) -> None:
    content = "Überschrift\r\nid;straße\r\n1;x\r\n".encode("utf-16")
    decisions = decided(tmp_path, content)
    assert content[decisions.table_starts :].decode("utf-16-le").startswith("id")
    assert content[decisions.data_starts :].decode("utf-16-le").startswith("1;x")
    assert decisions.data_line == 2
