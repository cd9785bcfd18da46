"""The records of a chunk that are no rows of the table, and where in them that is to be seen."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from processor.cleaning.reading.chunks_content import Content
from processor.cleaning.reading.records_fields import field_at, open_field
from processor.cleaning.reading.records_grammar import Fault, Grammar
from processor.cleaning.reading.records_units import as_ascii, unit_bytes

_NOWHERE = -1
_RAGGED = (Fault.TOO_FEW_FIELDS, Fault.TOO_MANY_FIELDS)
_IN_A_FIELD = (Fault.TEXT_AFTER_QUOTE, Fault.UNCLOSED_QUOTE, Fault.NUL_BYTE, Fault.BAD_ENCODING)


@dataclass(frozen=True, slots=True)
class Rejects:
    """In the order of the file."""

    records: NDArray[np.intp]  # which of the chunk's
    faults: NDArray[np.uint8]
    columns: NDArray[np.int32]  # from 0; -1 where the fault is in no column
    fields: NDArray[np.int32]  # how many the record has, if that is what is wrong; else 0

    def __len__(self) -> int:
        return len(self.records)

    def counts(self) -> dict[str, int]:
        """By the fault's code."""
        found, counts = np.unique(self.faults, return_counts=True)
        return {Fault(fault).code: count for fault, count in zip(found.tolist(), counts.tolist(), strict=True)}


NO_REJECTS = Rejects(np.empty(0, np.intp), np.empty(0, np.uint8), np.empty(0, np.int32), np.empty(0, np.int32))


def with_ragged(content: Content, columns: int) -> NDArray[np.uint8]:
    """The faults of all records."""
    faults, fields = content.records.faults.copy(), content.records.fields
    fitting = faults == Fault.NONE
    faults[fitting & (fields < columns)] = Fault.TOO_FEW_FIELDS
    faults[fitting & (fields > columns)] = Fault.TOO_MANY_FIELDS
    return faults


def rejects_of(content: Content, grammar: Grammar, columns: int, faults: NDArray[np.uint8]) -> Rejects:
    rejected = np.flatnonzero(faults)
    columns_at = np.full(len(rejected), _NOWHERE, np.int32)
    for at in np.flatnonzero(np.isin(faults[rejected], _IN_A_FIELD)).tolist():
        column = _column(content, grammar, int(rejected[at]), Fault(int(faults[rejected[at]])))
        columns_at[at] = column if column < columns else _NOWHERE
    return Rejects(
        rejected,
        faults[rejected],
        columns_at,
        np.where(np.isin(faults[rejected], _RAGGED), content.records.fields[rejected], 0).astype(np.int32),
    )


def _column(content: Content, grammar: Grammar, record: int, fault: Fault) -> int:
    data = content.data[int(content.records.starts[record]) : int(content.records.ends[record])]
    text = as_ascii(data, content.encoding)
    if fault is Fault.NUL_BYTE:
        return field_at(text, grammar, text.index(0))
    if fault is Fault.BAD_ENCODING:
        return field_at(text, grammar, _first_bad(data, content.encoding) // unit_bytes(content.encoding))
    return open_field(text, grammar)


def _first_bad(data: bytes, encoding: str) -> int:
    try:
        data.decode(encoding)
    except UnicodeDecodeError as error:
        return error.start
    raise AssertionError("A record with a fault of its encoding has one.")
