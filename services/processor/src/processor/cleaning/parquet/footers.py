"""Parquet files of one schema become one file, without reading what is in them: their row groups lie one after the
other, and a new footer says where. https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from processor.cleaning.parquet import thrift
from processor.cleaning.parquet.thrift import Fields, Items

MAGIC = b"PAR1"
# What a file ends with: how long its footer is, and the magic.
TAIL_BYTES = 8

# FileMetaData
_SCHEMA, _ROWS, _ROW_GROUPS = 2, 3, 4
# RowGroup
_COLUMNS, _GROUP_OFFSET, _ORDINAL = 1, 5, 7
# ColumnChunk, and its ColumnMetaData
_CHUNK_OFFSET, _META_DATA = 2, 3
_PAGE_INDEXES = (4, 5, 6, 7)
_PAGE_OFFSETS = (9, 10, 11, 14)


class CannotJoin(ValueError):
    """The files are not Parquet, or not of one schema."""


@dataclass(frozen=True, slots=True)
class ParquetFile:
    """What a join needs to know of a file."""

    data_bytes: int  # before its footer
    footer: bytes


def footer_length(tail: bytes) -> int:
    """Of a file that ends with these bytes."""
    if len(tail) != TAIL_BYTES or not tail.endswith(MAGIC):
        raise CannotJoin("This is no Parquet file.")
    return int.from_bytes(tail[:4], "little")


def joined_footer(files: Sequence[ParquetFile]) -> bytes:
    """What comes after the data of all files, one after the other, so that it is one file."""
    joined = _read(files[0])
    groups: list[Fields] = []
    rows = begin = 0
    for file in files:
        said = _read(file)
        if said[_SCHEMA] != joined[_SCHEMA]:
            raise CannotJoin("The files are not of one schema.")
        rows += said[_ROWS][1]
        for group in said[_ROW_GROUPS][1].values:
            _move(group, begin)
            groups.append(group)
        begin += file.data_bytes
    kind, old = joined[_ROW_GROUPS]
    joined[_ROW_GROUPS] = (kind, Items(old.type or thrift.STRUCT, groups))
    joined[_ROWS] = (joined[_ROWS][0], rows)
    footer = thrift.write(joined)
    return footer + len(footer).to_bytes(4, "little") + MAGIC


def moved(footer: bytes, by: int) -> Fields:
    """What it says of data that lie so much further back in a file."""
    said = _read(ParquetFile(0, footer))
    for group in said[_ROW_GROUPS][1].values:
        _move(group, by)
    return said


def _read(file: ParquetFile) -> Fields:
    try:
        said = thrift.read(file.footer)
    except thrift.NotThrift as wrong:
        raise CannotJoin(f"The footer of a file cannot be read: {wrong}") from None
    if not {_SCHEMA, _ROWS, _ROW_GROUPS} <= said.keys():
        raise CannotJoin("This is no Parquet file.")
    return said


def _move(group: Fields, by: int) -> None:
    """Page indexes name places too, inside of what is not read: readers do without them."""
    _shift(group, _GROUP_OFFSET, by)
    group.pop(_ORDINAL, None)
    column: Any
    for column in group[_COLUMNS][1].values:
        for number in _PAGE_INDEXES:
            column.pop(number, None)
        _shift(column, _CHUNK_OFFSET, by)
        for number in _PAGE_OFFSETS:
            _shift(column[_META_DATA][1], number, by)


def _shift(fields: Fields, number: int, by: int) -> None:
    """An offset that is not said, or 0 where writers say so of what they have not, stays so."""
    if number in fields and fields[number][1]:
        kind, offset = fields[number]
        fields[number] = (kind, offset + by)
