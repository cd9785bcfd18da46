"""Cells of the file as numbers and times, by what their column was recognised as: for the plots of before."""

from collections.abc import Callable
from datetime import UTC, datetime

from processor.cleaning.reading.kind import Kind

Reader = Callable[[str], float | None]


def reader_of(kind: Kind) -> Reader | None:
    """None for what has no place on a line: text, yes and no."""
    match kind.kind:
        case "integer" | "decimal":
            return lambda text: _number(text, kind)
        case "date" | "timestamp" if kind.formats:
            return lambda text: _time(text, kind)
        case _:
            return None


def is_missing(text: str | None) -> bool:
    return text is None or text == ""


def told(kind: Kind) -> str:
    """In words."""
    match kind.kind:
        case "integer" | "decimal":
            marks = [f"decimal mark “{kind.decimal}”"] if kind.kind == "decimal" else []
            marks += [f"thousands by “{kind.thousands}”"] if kind.thousands else []
            return f"{kind.kind}{', ' if marks else ''}{', '.join(marks)}"
        case "date" | "timestamp" if kind.formats:
            return f"{kind.kind} as {' or '.join(kind.formats[:3])}"
        case "boolean" if kind.true or kind.false:
            return f"boolean as {', '.join((*kind.true[:3], *kind.false[:3]))}"
        case _:
            return kind.kind


def _number(text: str, kind: Kind) -> float | None:
    plain = text.strip()
    if kind.thousands:
        plain = plain.replace(kind.thousands, "")
    if kind.decimal != ".":
        plain = plain.replace(kind.decimal, ".")
    if not plain.isascii() or "_" in plain:
        return None
    try:
        value = float(plain)
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None


def _time(text: str, kind: Kind) -> float | None:
    for form in kind.formats:
        try:
            moment = datetime.strptime(text.strip(), form)  # noqa: DTZ007 - what says no zone is UTC here
        except ValueError:
            continue
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return None
