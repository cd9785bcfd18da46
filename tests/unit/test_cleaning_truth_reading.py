"""What generated files have found in how files are read, each as a small one."""

from pathlib import Path
from typing import Any

from processor.cleaning.reading.deciding import Decisions, decide
from processor.cleaning.reading.options import options_from


def decided(folder: Path, content: bytes, **options: Any) -> Decisions:
    (folder / "input").write_bytes(content)
    return decide(folder / "input", options_from(options))


def test_who_says_where_the_table_begins_gets_all_that_follows(tmp_path: Path) -> None:
    """It was cut at a blank line all the same, and the smaller half was no part of it."""
    content = b"title\nname,age\nann,1\nbob,2\n\ntown,people\nUlm,5\nRom,6\nBern,7\n"
    assert len(decided(tmp_path, content).tables) == 2
    given = decided(tmp_path, content, preamble_lines=1, header=True)
    assert (len(given.tables), given.table_ends) == (1, None)
    assert content[given.data_starts :].startswith(b"ann,1")
    chosen = decided(tmp_path, content, preamble_lines=1, table=2)
    assert content[chosen.data_starts :].startswith(b"Ulm,5")


def test_a_first_row_of_empty_fields_is_a_row_of_a_table_without_header(tmp_path: Path) -> None:
    content = b"\n;;\n1;2;3\n4;5;6\n"
    given = decided(tmp_path, content, preamble_lines=0, header=False)
    assert content[given.data_starts :].startswith(b";;\n1;2;3")


def test_a_header_of_empty_fields_is_a_header(tmp_path: Path) -> None:
    content = b";\n1;2\n3;4\n"
    given = decided(tmp_path, content, preamble_lines=0, header=True)
    assert given.names.value == ("column1", "column2")
    assert content[given.data_starts :].startswith(b"1;2")


def test_an_empty_line_is_the_first_row_of_a_table_of_one_column_without_header(tmp_path: Path) -> None:
    content = b"\n12\n13\n"
    assert decided(tmp_path, content, preamble_lines=0, header=False).data_starts == 0


def test_as_many_columns_as_names_are_read_where_most_rows_are_ragged(tmp_path: Path) -> None:
    content = b"1,2,3\n4\n5\n6\n"
    assert len(decided(tmp_path, content, names=["a", "b", "c"], header=False, delimiter=",").columns) == 3
