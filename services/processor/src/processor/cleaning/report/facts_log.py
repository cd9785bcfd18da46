"""What the logs of a clean say: changes, rejects, duplicates and findings."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from processor.cleaning.report.document import (
    MOST_CHARACTERS,
    ChangeExample,
    DuplicateExample,
    Duplicates,
    Finding,
    FindingExample,
    OverFile,
    Reason,
    RejectExample,
    Rejects,
)
from processor.cleaning.report.tables import Rows, Tables, cut, stretches

MOST_CHANGES = 50_000  # that are looked at for examples
_EXAMPLES_OF_RULE, _EXAMPLES_OF_COLUMN = 8, 3
_EXAMPLES_OF_REASON, _MOST_REASONS_SHOWN = 3, 40
_EXAMPLES = 5
_PARTS = 60  # of the file
_MOST_IN_STRIP = 6  # reasons; the others are one
OTHER_REASONS = "other"
_SHOWN_BYTES = 240
_KEPT = 2 * MOST_CHARACTERS


@dataclass(frozen=True, slots=True)
class Changed:
    """What one rule did to one column."""

    rule: int
    column: str
    cells: int
    fewer_missing: int  # in the rows that came out: what they had before and have not any more


@dataclass(frozen=True, slots=True)
class Changes:
    all: list[Changed]
    examples: dict[int, list[ChangeExample]]  # by rule
    examples_of: Counter[int]


def changes(tables: Tables) -> Changes:
    if not tables.has("changes"):
        return Changes([], {}, Counter())
    counted = _counted(tables)
    gone = [f"SELECT row FROM {tables.parquet(name)}" for name in ("rejects", "duplicates") if tables.has(name)]  # noqa: S608
    # Their rows may have been changed before they went. Asked by themselves, which is cheaper than a join for all.
    of_gone = _counted(tables, f"WHERE row IN ({' UNION ALL '.join(gone)})") if gone else []
    lost = {(rule, column): fewer for rule, column, _, fewer in of_gone}
    all_ = [Changed(rule, column, cells, fewer - lost.get((rule, column), 0)) for rule, column, cells, fewer in counted]
    examples, examples_of = _change_examples(tables)
    return Changes(all_, examples, examples_of)


def _counted(tables: Tables, where: str = "") -> Rows:
    was, is_ = (f"count_if({name} IS NULL OR {name} = '')" for name in ("before", "after"))
    return tables.run(
        f'SELECT rule, "column", count(*), {was} - {is_} FROM {tables.parquet("changes")} {where} '  # noqa: S608
        "GROUP BY 1, 2 ORDER BY 1, 2"
    )


def _change_examples(tables: Tables) -> tuple[dict[int, list[ChangeExample]], Counter[int]]:
    total = tables.count("changes")
    looked_at = f"FROM {tables.parquet('changes')} WHERE {stretches(total, MOST_CHANGES)}"
    of: Counter[int] = Counter(dict(tables.run(f"SELECT rule, count(*) {looked_at} GROUP BY 1")))
    found = tables.run(f"""
        WITH pairs AS (
            SELECT rule, "column" AS name, {cut("before", _KEPT)} AS was, {cut("after", _KEPT)} AS became,
                count(*) AS times, min(row) AS first, arg_min(line, row) AS first_line
            {looked_at} GROUP BY ALL
        ), ranked AS (
            SELECT *, row_number() OVER (PARTITION BY rule, name ORDER BY times DESC, first) AS place FROM pairs
            QUALIFY place <= {_EXAMPLES_OF_COLUMN}
        )
        SELECT rule, name, was, became, times, first, first_line FROM ranked
        QUALIFY row_number() OVER (PARTITION BY rule ORDER BY place, times DESC, first, name) <= {_EXAMPLES_OF_RULE}
        ORDER BY rule, times DESC, first, name
    """)  # noqa: S608
    examples: dict[int, list[ChangeExample]] = defaultdict(list)
    for rule, name, was, became, times, row, line in found:
        examples[rule].append(ChangeExample(name, shortened(was), shortened(became), row, line, times))
    return dict(examples), of


def rejects(tables: Tables, size: int, encoding: str) -> Rejects:
    """`size`: of the file."""
    if not tables.has("rejects"):
        return Rejects()
    table = tables.parquet("rejects")
    reasons = tables.run(
        f'SELECT reason, rule, rule_name, "column", count(*) FROM {table} '  # noqa: S608
        "GROUP BY ALL ORDER BY 5 DESC, 1, 2 NULLS FIRST, 4 NULLS FIRST"
    )
    by_reason = tuple(Reason(reason, rule, name, column, rows) for reason, rule, name, column, rows in reasons)
    totals: Counter[str] = Counter()
    for each in by_reason:
        totals[each.reason] += each.rows
    return Rejects(by_reason, _over_file(tables, size, totals), _reject_examples(tables, encoding))


def _over_file(tables: Tables, size: int, totals: Counter[str]) -> OverFile | None:
    if not totals or size <= 0:
        return None
    named = [reason for reason, _ in totals.most_common(_MOST_IN_STRIP)]
    counts = {reason: [0] * _PARTS for reason in named}
    found = tables.run(
        f"SELECT reason, least({_PARTS - 1}, byte_offset * {_PARTS} // {size}), count(*) "  # noqa: S608
        f"FROM {tables.parquet('rejects')} GROUP BY 1, 2"
    )
    for reason, part, rows in found:
        of = reason if reason in counts else OTHER_REASONS
        counts.setdefault(of, [0] * _PARTS)[part] += rows
    return OverFile(size, tuple(counts), tuple(tuple(each) for each in counts.values()))


def _reject_examples(tables: Tables, encoding: str) -> tuple[RejectExample, ...]:
    table = tables.parquet("rejects")
    found = tables.run(f"""
        WITH chosen AS (
            SELECT unnest(min(file_row_number, {_EXAMPLES_OF_REASON})) AS place FROM {table}
            GROUP BY reason, rule, "column" ORDER BY count(*) DESC LIMIT {_EXAMPLES_OF_REASON * _MOST_REASONS_SHOWN}
        )
        SELECT file_row_number, line, byte_offset, bytes, row, "column", reason, {cut("detail", _KEPT)}, rule_name
        FROM {table} WHERE file_row_number IN (SELECT place FROM chosen) ORDER BY byte_offset, file_row_number
    """)  # noqa: S608
    texts = _texts(tables, [(place, bytes_) for place, _, _, bytes_, *_ in found], encoding)
    return tuple(
        RejectExample(line, at, row, column, reason, shortened(detail), rule_name, texts.get(place))
        for place, line, at, _, row, column, reason, detail, rule_name in found
    )


def _texts(tables: Tables, wanted: Sequence[tuple[int, int]], encoding: str) -> dict[int, str]:
    """How the records at these places of rejects.parquet begin: rejects.csv has them in the same order. If it has not
    as many bytes as it should, it is not read."""
    path, table = tables.files / "rejects.csv", tables.parquet("rejects")
    if not wanted or not path.exists():
        return {}
    before = [f"sum(bytes) FILTER (file_row_number < {place})" for place, _ in wanted]
    total, *offsets = tables.run(f"SELECT sum(bytes), {', '.join(before)} FROM {table}")[0]  # noqa: S608
    if total != path.stat().st_size:
        return {}
    return {
        place: _begin_of(path, int(offset or 0), bytes_, encoding)
        for (place, bytes_), offset in zip(wanted, offsets, strict=True)
    }


def _begin_of(path: Path, offset: int, length: int, encoding: str) -> str:
    with path.open("rb") as file:
        file.seek(offset)
        text = file.read(min(length, _SHOWN_BYTES)).decode(encoding, "backslashreplace").rstrip("\r\n")
    return text if length <= _SHOWN_BYTES else f"{text}…"


def duplicates(tables: Tables) -> Duplicates:
    if not tables.has("duplicates"):
        return Duplicates()
    table = tables.parquet("duplicates")
    ((rows, survivors, most),) = tables.run(
        f"SELECT sum(rows), count(*), max(rows) FROM (SELECT count(*) AS rows FROM {table} GROUP BY survivor_row)"  # noqa: S608
    )
    found = tables.run(
        f"SELECT row, line, survivor_row, rule_name FROM {table} ORDER BY row LIMIT {_EXAMPLES}"  # noqa: S608
    )
    return Duplicates(int(rows or 0), survivors, most or 0, tuple(DuplicateExample(*each) for each in found))


def duplicates_by_rule(tables: Tables) -> Counter[int]:
    if not tables.has("duplicates"):
        return Counter()
    return Counter(dict(tables.run(f"SELECT rule, count(*) FROM {tables.parquet('duplicates')} GROUP BY 1")))  # noqa: S608


def findings(tables: Tables) -> tuple[Finding, ...]:
    if not tables.has("findings"):
        return ()
    table = tables.parquet("findings")
    counted = tables.run(
        f'SELECT rule, any_value(rule_name), "column", count(*), min(row, {_EXAMPLES}) FROM {table} '  # noqa: S608
        'GROUP BY rule, "column" ORDER BY 4 DESC, 1, 3'
    )
    examples: dict[tuple[int, str], list[FindingExample]] = defaultdict(list)
    rows = sorted({row for *_, first in counted[:_MOST_REASONS_SHOWN] for row in first})
    if rows:
        found = tables.run(
            f'SELECT rule, "column", row, line, {cut("found", _KEPT)}, {cut("expected", _KEPT)}, confidence '  # noqa: S608
            f"FROM {table} WHERE row IN ({', '.join(map(str, rows))}) ORDER BY row"
        )
        for rule, column, row, line, was, expected, confidence in found:
            examples[rule, column].append(FindingExample(row, line, shortened(was), shortened(expected), confidence))
    return tuple(
        Finding(rule, name, column, cells, tuple(examples[rule, column][:_EXAMPLES]))
        for rule, name, column, cells, _ in counted
    )


def shortened(text: str | None) -> str | None:
    if text is None or len(text) <= MOST_CHARACTERS:
        return text
    return f"{text[: MOST_CHARACTERS - 1]}…"
