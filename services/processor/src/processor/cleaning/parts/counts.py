"""What became of a chunk's records, in numbers."""

from collections import Counter
from collections.abc import Sequence

import msgspec


class Changed(msgspec.Struct, frozen=True):
    """Cells of a column that a rule has changed, in rows that come out."""

    rule: int  # its place in the recipe
    column: str
    cells: int


class PartCounts(msgspec.Struct, frozen=True):
    rows_in: int
    rows_out: int
    rejected: dict[str, int]  # rows, by reason
    changed: tuple[Changed, ...]
    blank_lines: int

    def check(self, expected: int) -> None:
        """The law: each record comes out or is rejected. `expected`: how many there are, as the survey has counted."""
        if not self.rows_in == self.rows_out + sum(self.rejected.values()) == expected:
            said = f"{self.rows_in:,} rows in, {self.rows_out:,} out, {sum(self.rejected.values()):,} rejected"
            raise LawBroken(f"Of a chunk, not each record is accounted for: {expected:,} records, {said}.")


class LawBroken(AssertionError):
    """A mistake of ours, never of the file."""


def merged(counts: Sequence[PartCounts]) -> PartCounts:
    rejected: Counter[str] = Counter()
    for part in counts:
        rejected.update(part.rejected)
    return PartCounts(
        sum(part.rows_in for part in counts),
        sum(part.rows_out for part in counts),
        dict(rejected),
        all_changed(counts),
        sum(part.blank_lines for part in counts),
    )


def all_changed(counts: Sequence[PartCounts]) -> tuple[Changed, ...]:
    cells: Counter[tuple[int, str]] = Counter()
    for part in counts:
        cells.update({(one.rule, one.column): one.cells for one in part.changed})
    return tuple(Changed(rule, column, count) for (rule, column), count in sorted(cells.items()))
