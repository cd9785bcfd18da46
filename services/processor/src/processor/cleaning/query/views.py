"""What can be asked of the tables that a clean leaves, and what is answered."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from processor.cleaning import files

STEP = "table-query"

# The tables, by the names that clients know them by.
TABLES: Mapping[str, str] = MappingProxyType(
    {
        name.removesuffix(".parquet"): name
        for name in (files.CLEANED, files.REJECTS, files.DUPLICATES, files.CHANGES, files.FINDINGS)
    }
)
# The file that the step leaves, by what the client wants.
ANSWERS: Mapping[str, str] = MappingProxyType({"application/json": "answer.json", "text/csv": "answer.csv"})


class QueryWish(msgspec.Struct, frozen=True):
    where: tuple[str, ...]
    columns: str | None
    order: str | None
    limit: int
    offset: int
    count: bool
    answer: str  # a file of ANSWERS


class QueryColumn(msgspec.Struct, frozen=True):
    name: str
    type: str


class QueryAnswer(msgspec.Struct, frozen=True):
    columns: list[QueryColumn]
    items: list[dict[str, Any]]  # each row by the names of its columns
    next_offset: int | None  # of the rows behind these, if there are any
    count: int | None  # of all rows that match, if it was asked for


ANSWER = QueryAnswer(
    [QueryColumn("name", "VARCHAR"), QueryColumn("amount", "DECIMAL(18,2)"), QueryColumn("day", "DATE")],
    [{"name": "Ada", "amount": "12.50", "day": "2024-02-29"}, {"name": "Bob", "amount": None, "day": "2024-03-01"}],
    2,
    17,
)
