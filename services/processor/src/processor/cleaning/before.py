"""Cells as they stood in the file, from places evenly spread over the table: in the same time and with the same memory,
whatever the file's size is."""

from dataclasses import dataclass

from processor.cleaning.layout import Layout
from processor.cleaning.reading.chunks_content import read_chunk
from processor.cleaning.reading.feed_rejects import with_ragged
from processor.cleaning.reading.feed_text import Text
from processor.cleaning.reading.records_grammar import Fault
from processor.cleaning.sampling import Spread, evenly

PLACES = 16
MOST_RECORDS = 4_000
_MOST_CELLS = 400_000
_FEWEST_RECORDS = 32  # however wide they are


@dataclass(frozen=True, slots=True)
class Sample:
    """Of the table, before anything was done to it."""

    columns: dict[str, list[str]]  # the cells as they stood
    records: int
    misfits: int  # records that were passed over, since they are no rows
    is_all: bool  # whether these are all others of the table


def cells_before(fd: int, layout: Layout, spread: Spread) -> Sample:
    names, grammar = layout.names, layout.grammar
    most = max(_FEWEST_RECORDS, min(MOST_RECORDS, _MOST_CELLS // max(1, len(names))))
    found: list[list[str]] = []
    looked_at = 0
    for chunk, chosen in evenly(spread.chosen, most):
        looked_at += len(chosen)
        content = read_chunk(fd, chunk, layout.table, grammar)
        text = Text(content, grammar, with_ragged(content, len(names)))
        for record in chosen[text.faults[chosen] == Fault.NONE].tolist():
            try:
                found.append(text.values(record))
            except UnicodeDecodeError:
                continue
    columns = {name: [row[at] for row in found] for at, name in enumerate(names)}
    return Sample(columns, len(found), looked_at - len(found), looked_at == spread.rows)
