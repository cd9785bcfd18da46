"""What stands below a table and is none of its rows: sums, sources, counts of rows."""

import re
from collections.abc import Sequence

from processor.cleaning.reading.decisions import Decision, counted, decided
from processor.cleaning.reading.looks import is_typed
from processor.cleaning.reading.rows import Row

_MOST_ROWS = 30
_COMPARED = 200  # rows, with those that may be a footer
_SUM = re.compile(
    r"(?:grand |sub|genel )?"
    r"(?:total|totals|sum|summe|gesamt|insgesamt|toplam|somme|suma|totale|razem|итого|всего|σύνολο)\b.*",
    re.IGNORECASE,
)
_COUNT = re.compile(r"\(?\d[\d,. ]*\s*(?:rows?|records?|lines?|satır|zeilen|lignes)\b.*", re.IGNORECASE)


def decide_footer(rows: Sequence[Row], width: int, line_count: int) -> Decision[int]:
    """How many lines, of the `line_count` that end with the file's last. `rows` are those lines' rows."""
    first, reasons = line_count, dict[str, float]()
    blank_below = False
    for row in reversed(rows[-_MOST_ROWS:]):
        if row.is_blank:
            blank_below = True
            continue
        why = _why(row, width, rows)
        if why is None:
            if blank_below and first < line_count and _is_remark(row, width, rows):
                why = ("a blank line parts them from the table", 0.8)
            else:
                break
        reasons[why[0]] = why[1]
        first, blank_below = row.line, False
    if first == line_count:
        return decided(0, 0.95, "The file's last rows are as the others.")
    if first == rows[0].line:  # all of them: then they are the table, or of another
        return decided(0, 0.5, "The file's last rows are unlike the others, and so are those above.")
    blank_above = any(row.is_blank and row.line == first - 1 for row in rows)
    start = first - 1 if blank_above else first
    while blank_above and any(row.is_blank and row.line == start - 1 for row in rows):
        start -= 1
    sure = min(reasons.values()) + (0.1 if blank_above else 0.0)
    what = counted(line_count - start, "line")
    reason = f"The table does not have the last {what}: {', '.join(reasons)}."
    return decided(line_count - start, min(0.97, sure), reason, [(0, 1 - sure)])


def _why(row: Row, width: int, rows: Sequence[Row]) -> tuple[str, float] | None:
    fields = [field.strip() for field in row.fields]
    filled = [field for field in fields if field]
    if width == 1:
        return ("they count the rows", 0.85) if _COUNT.fullmatch(filled[0]) and filled[0].startswith("(") else None
    if _COUNT.fullmatch(filled[0]) and len(filled) == 1:
        return "they count the rows", 0.95
    if _SUM.fullmatch(filled[0]) and not _is_usual(filled[0], fields.index(filled[0]), row, width, rows):
        return "they have sums", 0.85
    if len(fields) == 1 and not is_typed(filled[0]):
        return "they are remarks, of one field", 0.85
    if len(filled) == 1 and width > 2 and len(filled[0]) > 3 and fields[0] and not is_typed(filled[0]):
        others = [other for other in rows[-_COMPARED:] if other is not row and len(other.fields) == width]
        sparse = sum(sum(bool(field.strip()) for field in other.fields) == 1 for other in others)
        if sparse < 0.05 * len(others):
            return "they are remarks, of one field", 0.75
    return None


def _is_usual(value: str, at: int, row: Row, width: int, rows: Sequence[Row]) -> bool:
    """Whether other rows have such a value in that column, too."""
    return (
        sum(len(other.fields) == width and other.fields[at].strip() == value for other in rows if other is not row) > 1
    )


def _is_remark(row: Row, width: int, rows: Sequence[Row]) -> bool:
    """Narrower than the table, or a text where the table has none."""
    if is_typed(row.fields[0].strip()):
        return False
    above = [
        other.fields[0].strip() for other in rows[-_COMPARED:] if len(other.fields) == width and not other.is_blank
    ]
    return len(row.fields) < width or sum(map(is_typed, above)) > 0.7 * len(above) > 1
