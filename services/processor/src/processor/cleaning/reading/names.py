"""A distinct name for each column, from the header or made up."""

from collections.abc import Sequence

from msgspec import UNSET

from processor.cleaning.reading.decisions import Decision, decided, overridden
from processor.cleaning.reading.options import NO_TEXT, Options
from processor.step import StepError

_MOST_NOTES = 20


def decide_names(
    header: Sequence[str] | None, width: int, data: Sequence[Sequence[str]], options: Options
) -> tuple[Decision[tuple[str, ...]], list[str]]:
    """With notes where the header left something to us. `data` are rows of the width."""
    if options.names is not UNSET:
        if len(options.names) != width:
            detail = f"The option `names` cannot be: it has {len(options.names)} names, and the table {width} columns."
            raise StepError("invalid_option", detail)
        return overridden(tuple(options.names)), []
    if header is None:
        numbered = tuple(f"column{number}" for number in range(1, width + 1))
        return decided(numbered, 1.0, "There is no header: the columns are numbered."), [
            "The file has no header; its columns are numbered."
        ]
    fitted, notes = _fitted([field.strip() for field in header], width, data)
    readable = [NO_TEXT.sub("\ufffd", field) for field in fitted]
    notes += [
        f"The name of column {number} has characters that are none; it is called {name!r:.70} here."
        for number, (field, name) in enumerate(zip(fitted, readable, strict=True), 1)
        if name != field
    ]
    names, made_up = _distinct(readable)
    changed = len(notes) + len(made_up)
    notes += made_up
    sure = 1.0 if not changed else max(0.5, 1 - changed / (width + 1))
    reason = (
        f"In {len(made_up)} columns the header has no name, or one that is taken."
        if made_up
        else "They are the header's."
    )
    return decided(names, sure, reason), _shortened(notes)


def _fitted(header: list[str], width: int, data: Sequence[Sequence[str]]) -> tuple[list[str], list[str]]:
    if len(header) == width:
        return header, []
    note = f"The header has {len(header)} columns, and most rows have {width}."
    if len(header) == width - 1 and _are_row_names([row[0] for row in data]) and any(row[-1].strip() for row in data):
        return ["", *header], [f"{note} The first column seems to number the rows, and to have no name."]
    return [*header, *[""] * width][:width], [note]


def _are_row_names(first: Sequence[str]) -> bool:
    """As R writes them: 1, 2, 3."""
    return len(first) > 1 and all(value.strip() == str(number) for number, value in enumerate(first, 1))


def _distinct(fields: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    names: list[str] = []
    notes: list[str] = []
    taken: set[str] = set()
    for number, field in enumerate(fields, 1):
        base = name = field or f"column{number}"
        while name.lower() in taken:
            name = f"{base}_{number}" if name == base else f"{name}_"
        if not field:
            notes.append(f"Column {number} has no name in the header; it is called {name} here.")
        elif name != base:
            notes.append(f"Column {number} repeats the name {base!r:.60}; it is called {name!r:.70} here.")
        taken.add(name.lower())
        names.append(name)
    return tuple(names), notes


def _shortened(notes: list[str]) -> list[str]:
    if len(notes) <= _MOST_NOTES:
        return notes
    return [*notes[:_MOST_NOTES], f"And so on, for {len(notes) - _MOST_NOTES} more columns."]
