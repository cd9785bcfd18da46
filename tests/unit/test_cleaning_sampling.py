"""What is looked at of a file, where that is not all of it."""

from pathlib import Path

import numpy as np
import pytest

from processor.cleaning.reading import chunks
from processor.cleaning.reading.chunks import Chunk, Table
from processor.cleaning.reading.options import options_from
from processor.cleaning.sampling import Spread, evenly, first
from processor.cleaning.survey import survey

PIECES = [Chunk(at * 10, at * 10 + 10, at * 4 + 1, at * 4 + 1, 4) for at in range(100)]


def test_pieces_are_chosen_at_places_that_are_evenly_spread() -> None:
    spread = Spread(Table(0, 1000), 5)
    assert list(spread.over(PIECES)) == PIECES
    assert [piece.start for piece in spread.chosen] == [0, 240, 490, 740, 990]
    assert spread.rows == 400


def test_of_a_small_file_all_pieces_are_chosen_also_one_with_next_to_nothing_in_it() -> None:
    few = [Chunk(0, 1000, 1, 1, 50), Chunk(1000, 1003, 51, 51, 1)]
    spread = Spread(Table(0, 1003), 16)
    assert list(spread.over(few)) == spread.chosen == few


def test_records_are_chosen_evenly_from_all_chunks_together() -> None:
    some = [Chunk(0, 9, 1, 1, 6), Chunk(9, 10, 7, 7, 0), Chunk(10, 14, 7, 7, 2)]
    assert [(chunk.row, rows.tolist()) for chunk, rows in evenly(some, 4)] == [(1, [0, 2, 4]), (7, [0])]
    assert [(chunk.row, rows.tolist()) for chunk, rows in evenly(some, 9)] == [(1, [*range(6)]), (7, [0, 1])]
    assert list(evenly([], 4)) == []


def test_no_more_is_looked_at_than_the_first_records_need() -> None:
    left = iter(PIECES)
    assert [len(rows) for _, rows in first(left, 10)] == [4, 4, 2]
    assert next(left) == PIECES[3]


def test_cells_before_a_clean_are_those_of_the_exact_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read by another grammar than the clean's, from wherever in a record a place was, they once were others."""
    monkeypatch.setattr(chunks, "_PIECE_BYTES", 10_000)
    rows = [f'{at},"line\n{at},x",\u00e9\n' if at % 10 else f"{at},short\n" for at in range(40_000)]
    path = tmp_path / "file.csv"
    path.write_text("id,text,more\n" + "".join(rows))
    sample = survey(path, options_from({})).sample
    found = [int(cell) for cell in sample.columns["id"]]
    assert sample.records + sample.misfits == 4_000
    assert not sample.is_all
    assert 0.08 < sample.misfits / 4_000 < 0.12
    assert sample.columns["text"] == [f"line\n{at},x" for at in found]
    assert (np.histogram(found, 4, (0, 40_000))[0] > 600).all()
