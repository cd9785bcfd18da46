"""What holds for all files: those of a known dialect are recognised, and no bytes bring anything but an answer."""

import csv
import io
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.csv_dialects import Made, make
from processor.cleaning.reading.deciding import Decisions, decide
from processor.cleaning.reading.options import Options, options_from
from processor.cleaning.reading.rows import Grammar, Lines, rows
from processor.step import StepError

NOTHING_GIVEN = options_from({})


def decided(content: bytes, options: Options = NOTHING_GIVEN) -> Decisions:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "input"
        path.write_bytes(content)
        return decide(path, options)


def is_recognised(made: Made, decisions: Decisions) -> dict[str, bool]:
    return {
        "encoding": made.content[decisions.mark_bytes :].decode(decisions.encoding.value, "replace") == made.text,
        "delimiter": decisions.delimiter.value == made.delimiter,
        "quote": made.quote in (None, decisions.quote.value),
        "escape": (made.escape is None and not made.doubled) or decisions.escape.value == made.escape,
        "header": decisions.header.value == made.header,
        "preamble": decisions.preamble_lines.value == made.preamble,
        "footer": decisions.footer_lines.value == made.footer,
        "names": not made.header or list(decisions.names.value) == made.names,
    }


@pytest.mark.parametrize(("noisy", "aim"), [(False, 0.985), (True, 0.97)], ids=["clean", "spoiled"])
def test_files_of_known_dialects_are_recognised(noisy: bool, aim: float) -> None:
    """What is not: mostly files of three rows, or that have blanks as delimiters."""
    right: Counter[str] = Counter()
    count = 120
    for seed in range(count):
        made = make(seed, noisy=noisy)
        right.update(name for name, is_right in is_recognised(made, decided(made.content)).items() if is_right)
    wrong = {name: round(1 - right[name] / count, 3) for name in right if right[name] < aim * count}
    assert not wrong


def test_kinds_of_columns_are_recognised() -> None:
    expected = {"integer", "decimal", "date", "timestamp"}
    right = whole = 0
    for seed in range(500, 560):
        made = make(seed, rows=30, noisy=False)
        decisions = decided(made.content)
        if len(decisions.columns) != len(made.kinds):
            continue
        for kind, detail, column in zip(made.kinds, made.details, decisions.columns, strict=True):
            found = column.kind.value
            if kind in expected:
                whole += 1
                right += (
                    found.kind == kind
                    and detail.get("format", (*found.formats, None)[0]) == (*found.formats, None)[0]
                    and detail.get("decimal", found.decimal) == found.decimal
                )
    assert whole > 80
    assert right >= 0.98 * whole


def answer(content: bytes) -> Decisions | StepError:
    try:
        return decided(content)
    except StepError as refused:
        return refused


@given(st.binary(max_size=400) | st.text(alphabet="a1,;\"\n\r\t|. '\\é", max_size=300).map(str.encode))
@settings(max_examples=200, deadline=None)
def test_any_bytes_get_an_answer(content: bytes) -> None:
    decisions = answer(content)
    if isinstance(decisions, StepError):
        assert decisions.code in ("empty_file", "not_csv")
        assert decisions.detail.endswith(".")
        return
    assert 0 <= decisions.table_starts <= decisions.data_starts <= len(content)
    assert len(decisions.names.value) == len(decisions.columns) >= 1
    assert len({name.lower() for name in decisions.names.value}) == len(decisions.columns)
    assert 0 <= decisions.delimiter.confidence <= 1


FIELDS = st.text(alphabet="ab1 ,;\t\"'\n\r", max_size=8)


@given(
    st.lists(st.lists(FIELDS, min_size=2, max_size=5), min_size=1, max_size=8),
    st.sampled_from(",;\t|"),
    st.sampled_from([("\r\n", csv.QUOTE_MINIMAL), *((end, csv.QUOTE_ALL) for end in ("\n", "\r\n", "\r"))]),
)
@settings(max_examples=300, deadline=None)
def test_what_the_csv_module_writes_is_read_as_it_was(
    table: list[list[str]], delimiter: str, style: tuple[str, Literal[0, 1]]
) -> None:
    """Without a line feed in its line ends, that module leaves some line ends in fields without quotes."""
    end, quoting = style
    written = io.StringIO()
    csv.writer(written, delimiter=delimiter, lineterminator=end, quoting=quoting).writerows(table)
    found = list(rows(Lines(written.getvalue()), Grammar(delimiter, '"', None)))
    assert [list(row.fields) for row in found] == table
    assert not any(row.is_flawed for row in found)


@given(st.integers(0, 300))
@settings(max_examples=40, deadline=None)
def test_what_the_options_say_is_done_and_said(seed: int) -> None:
    made = make(seed)
    names = [f"c{number}" for number in range(len(made.kinds))]
    given_options = {
        "encoding": "utf-8",
        "delimiter": made.delimiter,
        "quote": made.quote,
        "header": made.header,
        "preamble_lines": made.preamble,
        "footer_lines": made.footer,
        "names": names,
    }
    decisions = decided(made.text.encode(), options_from(given_options))
    for name, value in given_options.items():
        decision = getattr(decisions, name)
        assert decision.overridden
        assert decision.confidence == 1
        assert decision.value == (tuple(names) if name == "names" else value)
