"""How far a clean is: by bytes, with the rows and the rejects so far."""

from typing import NamedTuple

from processor.cleaning.parts.counts import PartCounts
from processor.cleaning.reading.chunks import Chunk
from processor.step import Report


class Shares(NamedTuple):
    """What part of the work is done when the file was looked through, and when its chunks are clean."""

    surveyed: float
    cleaned: float


class Progress:
    """What raises here ends the work: see `Report`."""

    def __init__(self, report: Report, size: int, shares: Shares) -> None:
        self._report = report
        self._shares = shares
        self._size = max(1, size)
        self._rows = self._rejects = self._read = 0
        self._said = (0.0, "Opening the file")

    def look(self) -> None:
        """Nothing is new: only whether it is wanted still."""
        self._report(*self._said)

    def looking_through(self, read: int) -> None:
        self._say(self._shares.surveyed * read / self._size, f"Looking through the file: {self._megabytes(read)}")

    def cleaned(self, chunk: Chunk, counts: PartCounts) -> None:
        self._rows += counts.rows_in
        self._rejects += sum(counts.rejected.values())
        self._read += chunk.end - chunk.start
        said = f"{self._megabytes(self._read)}, {self._rows:,} rows, {self._rejects:,} rejected"
        begin, end = self._shares
        self._say(begin + (end - begin) * self._read / self._size, f"Cleaning: {said}")

    def finishing(self) -> None:
        self._say(self._shares.cleaned, "Putting it together")

    def reporting(self, _share: float, message: str | None) -> None:
        self._say(self._shares.cleaned, message or "")

    def _say(self, share: float, message: str) -> None:
        self._said = (share, message)
        self.look()

    def _megabytes(self, read: int) -> str:
        return f"{read / 1e6:.1f} of {self._size / 1e6:.1f} MB"
