"""What is found out of a file before it is cleaned: where its table is, and the chunks that it is cut into."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.cleaning import layout
from processor.cleaning.reading.options import options_from
from processor.cleaning.survey import opened, survey
from processor.step import StepError


def surveyed(path: Path, content: bytes, **options: object) -> bytes:
    """The bytes of the table's records."""
    path.write_bytes(content)
    table = survey(path, options_from(options)).layout.table
    return content[table.begin : table.end]


def test_a_header_and_a_footer_are_no_records(tmp_path: Path) -> None:
    content = b"name,amount\nAda,1\nBob,2\nCyd,3\n\nTotal,6\n"
    assert surveyed(tmp_path / "file", content) == b"Ada,1\nBob,2\nCyd,3\n"


def test_the_options_say_how_many_last_lines_are_no_records(tmp_path: Path) -> None:
    content = b"name,amount\r\nAda,1\r\nBob,2\r\nCyd,3\r\nend"
    assert surveyed(tmp_path / "file", content, footer_lines=2) == b"Ada,1\r\nBob,2\r\n"
    assert surveyed(tmp_path / "file", content, footer_lines=100) == b""


@given(st.text("a\r\n", max_size=40), st.integers(1, 12), st.integers(1, 9), st.sampled_from(["utf-8", "utf-16-le"]))
def test_the_last_lines_are_found_from_the_end(
    tmp_path_factory: pytest.TempPathFactory, text: str, lines: int, piece: int, encoding: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "lines"
    path.write_bytes(b"xx" + text.encode(encoding))
    ends = text.replace("\r\n", "\n").replace("\r", "\n")
    count = ends.count("\n") + (not ends.endswith("\n") and bool(ends))
    expected = max(0, count - lines)
    with opened(path) as fd, pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "_PIECE_BYTES", piece)
        begin = layout.before_last_lines(fd, 2, lines, encoding)
    before = path.read_bytes()[2:begin].decode(encoding)
    assert len(before.splitlines()) == expected
    assert not expected or before.endswith(("\r", "\n"))
    assert not (before.endswith("\r") and text[len(before) : len(before) + 1] == "\n")


def test_a_delimiter_by_which_records_are_not_told_apart_exactly_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="cannot be cleaned") as refused:
        surveyed(tmp_path / "file", b"a||b\n1||2\n", delimiter="||")
    assert refused.value.code == "unsupported_dialect"


def test_a_mark_that_may_be_a_part_of_another_character_is_refused(tmp_path: Path) -> None:
    content = "a|b\nポ|2\nx|3\n".encode("shift_jis")
    with pytest.raises(StepError, match="part of other characters") as refused:
        surveyed(tmp_path / "file", content, encoding="shift_jis", delimiter="|")
    assert refused.value.code == "unsupported_dialect"
    assert surveyed(tmp_path / "file", content.replace(b"|", b";"), encoding="shift_jis", delimiter=";")
