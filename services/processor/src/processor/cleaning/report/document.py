"""What report.json says. Fields may be added with a default; none is renamed or removed within a version.

Texts of the file are cut at `MOST_CHARACTERS`. What is counted over a sample says of how many rows.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

VERSION = 1
MOST_CHARACTERS = 300  # of a cell


class Part(msgspec.Struct, frozen=True):
    """What all parts of a report have in common."""


class Rows(Part, frozen=True):
    """`in` is the sum of the other three."""

    records: Annotated[int, Meta(description="Data records of the input.")] = msgspec.field(name="in")
    out: int
    rejected: int
    duplicates: int


class Missing(Part, frozen=True):
    """Cells with nothing in them, of the rows that came out. A cell that says N/A has something in it."""

    before: Annotated[int, Meta(description="By the log of changes, exactly.")] | None
    after: int | None


class File(Part, frozen=True):
    name: str | None
    bytes: Annotated[int, Meta(description="Decompressed.")] | None
    compression: tuple[str, ...] = ()


class Choice(Part, frozen=True):
    """What was decided of how the file is to be read."""

    what: str
    value: Any
    confidence: Annotated[float, Meta(ge=0, le=1)]
    reason: str
    overridden: bool = False
    alternatives: tuple[Any, ...] = ()


class ChangeExample(Part, frozen=True):
    column: str
    before: str | None
    after: str | None
    row: Annotated[int, Meta(description="One of them, from 1 on.")]
    line: int
    times: Annotated[int, Meta(description="Among the changes that were looked at.")]


class ColumnChanges(Part, frozen=True):
    column: Annotated[str, Meta(description="As it was called then.")]
    cells: int


class RuleDone(Part, frozen=True):
    """A rule of the recipe, and what it did."""

    rule: Annotated[int, Meta(description="Its place in the recipe, from 0 on.")]
    name: str
    why: str | None
    parameters: dict[str, Any]
    changed_cells: int
    rejected_rows: int
    duplicate_rows: int
    findings: int
    columns: tuple[ColumnChanges, ...]
    examples: tuple[ChangeExample, ...]
    examples_of: Annotated[int, Meta(description="How many of its changes were looked at for examples.")]


class Bins(Part, frozen=True):
    """How many values lie between each edge and the next; the last edge is within the last bin."""

    unit: Annotated[str, Meta(description="`number`, `date`, `timestamp` (seconds since 1970, both) or `characters`.")]
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    below: int = 0
    above: int = 0
    is_whole: Annotated[bool, Meta(description="Whether all values are whole numbers.")] = False


class Value(Part, frozen=True):
    value: str
    count: int


class Spread(Part, frozen=True):
    """What values there are, in these rows."""

    rows: int
    is_all: Annotated[bool, Meta(description="Whether these are all rows, and not a sample.")]
    missing: int
    distinct: int | None
    top: tuple[Value, ...] = ()
    bins: Bins | None = None
    readable: Annotated[int, Meta(description="Of the values, how many are in the bins, below or above.")] | None = None
    mean: float | None = None
    deviation: float | None = None
    quartiles: tuple[float, float, float] | None = None


class ColumnReport(Part, frozen=True):
    name: str
    source: Annotated[str, Meta(description="What it was called in the file, if it is one column of it.")] | None
    made_of: Annotated[tuple[str, ...], Meta(description="Columns of the file, if it is a part or several of them.")]
    kind: Annotated[str, Meta(description="What its text was recognised as.")] | None
    kind_confidence: float | None
    type: str
    missing: Missing
    changed_cells: int
    rejected_rows: int
    least: str | None
    most: str | None
    before: Annotated[Spread, Meta(description="Of the text in the file, in the sample.")] | None = None
    after: Annotated[Spread, Meta(description="Of the cleaned table.")] | None = None


class Dropped(Part, frozen=True):
    """A column that the recipe leaves out."""

    name: str
    kind: str | None
    rule: int


class Reason(Part, frozen=True):
    reason: str
    rule: int | None
    rule_name: str | None
    column: str | None
    rows: int


class RejectExample(Part, frozen=True):
    line: int
    byte_offset: int
    row: int | None
    column: str | None
    reason: str
    detail: str | None
    rule_name: str | None
    text: Annotated[str, Meta(description="How the record begins, with \\xNN for bytes that are no text.")] | None


class OverFile(Part, frozen=True):
    """Where in the file the rejects are: how many begin in each part of it, all of the same size."""

    bytes: int
    reasons: tuple[str, ...]
    counts: Annotated[tuple[tuple[int, ...], ...], Meta(description="For each reason, for each part.")]


class Rejects(Part, frozen=True):
    by_reason: tuple[Reason, ...] = ()
    over_file: OverFile | None = None
    examples: tuple[RejectExample, ...] = ()


class DuplicateExample(Part, frozen=True):
    row: int
    line: int
    survivor_row: int
    rule_name: str


class Duplicates(Part, frozen=True):
    rows: int = 0
    survivors: int = 0
    most_of_one: Annotated[int, Meta(description="Of one survivor.")] = 0
    examples: tuple[DuplicateExample, ...] = ()


class FindingExample(Part, frozen=True):
    row: int
    line: int
    found: str | None
    expected: str | None
    confidence: float | None


class Finding(Part, frozen=True):
    """What a rule has seen and left as it is."""

    rule: int
    rule_name: str
    column: str
    cells: int
    examples: tuple[FindingExample, ...]


class Correlations(Part, frozen=True):
    """Pearson's, of each two columns over the rows where both have a value; null where one of them does not vary."""

    columns: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]
    rows: int
    is_all: bool


class Measured(Part, frozen=True):
    """What the distributions are of."""

    before_records: Annotated[int, Meta(description="Records in the sample of the file.")]
    before_misfits: Annotated[int, Meta(description="Records that were passed over: not as wide as the table.")]
    before_is_all: bool
    after_rows: int
    after_is_all: bool
    detailed_columns: int


class Report(Part, frozen=True):
    version: int
    file: File
    rows: Rows
    changed_cells: int
    missing: Missing
    decisions: tuple[Choice, ...]
    notes: tuple[str, ...]
    rules: tuple[RuleDone, ...]
    columns: tuple[ColumnReport, ...]
    dropped: tuple[Dropped, ...]
    rejects: Rejects
    duplicates: Duplicates
    findings: tuple[Finding, ...]
    correlations: Correlations | None
    measured: Measured
