"""How far a clean is: by bytes, with the rows and the rejects so far."""

from processor.cleaning.parts.counts import PartCounts
from processor.cleaning.reading.chunks import Chunk
from processor.step import Report

_SURVEYED, _CLEANED = 0.1, 0.9  # of the whole


class Progress:
    def __init__(self, report: Report, size: int) -> None:
        self._report = report
        self._size = max(1, size)
        self._rows = self._rejects = 0

    def looking_through(self, read: int) -> None:
        self._report(_SURVEYED * read / self._size, f"Looking through the file: {self._megabytes(read)}")

    def cleaned(self, chunk: Chunk, counts: PartCounts) -> None:
        self._rows += counts.rows_in
        self._rejects += sum(counts.rejected.values())
        said = f"{self._megabytes(chunk.end)}, {self._rows:,} rows, {self._rejects:,} rejected"
        self._report(_SURVEYED + (_CLEANED - _SURVEYED) * chunk.end / self._size, f"Cleaning: {said}")

    def finishing(self) -> None:
        self._report(_CLEANED, f"Putting it together: {self._rows:,} rows, {self._rejects:,} rejected")

    def _megabytes(self, read: int) -> str:
        return f"{read / 1e6:.1f} of {self._size / 1e6:.1f} MB"
