"""What every rule has."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from processor.cleaning.recipe.sheet import Sheet
from processor.cleaning.sql import TEXT, missing, shown, written
from processor.language.problems import Path, did_you_mean

Name = Annotated[str, Meta(min_length=1, max_length=1_000, description="A column.")]
_ONCE = {"uniqueItems": True}  # or a change would be logged twice
Names = Annotated[
    tuple[Name, ...],
    Meta(min_length=1, max_length=10_000, extra_json_schema=_ONCE, description="The columns."),
]
AllOrNames = Annotated[
    tuple[Name, ...],
    Meta(max_length=10_000, extra_json_schema=_ONCE, description="The columns; none for all that are text by then."),
]
Word = Annotated[str, Meta(max_length=1_000)]
Words = Annotated[tuple[Word, ...], Meta(max_length=10_000)]
OnError = Annotated[
    Literal["reject", "null", "keep"],
    Meta(
        description="A cell that cannot be read: its row is rejected, it is made null, or the cells that can be read "
        "are written in their usual form and the column stays text."
    ),
]
RejectOrNull = Annotated[
    Literal["reject", "null"], Meta(description="The row of such a cell is rejected, or it is made null.")
]


class WrongRule(Exception):
    """A rule does not fit the table, or itself. `path` is within the rule."""

    def __init__(self, path: Path, code: str, detail: str) -> None:
        super().__init__(detail)
        self.path = path
        self.code = code
        self.detail = detail


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True, tag_field="rule"):
    why: Annotated[str, Meta(max_length=2_000, description="Why it is there, for people.")] | None = None

    def check(self) -> Iterator[WrongRule]:
        """What is wrong with it whatever the table, beyond what its schema says."""
        return iter(())

    @property
    def needs_all_rows(self) -> bool:
        """Whether it is done by `WholeRule.steps`, after all chunks, and all rules after it too."""
        return False

    def apply(self, sheet: Sheet) -> None:
        """Raises `WrongRule` if the table has not what it works on."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Reading:
    """How the cells of a text column are read as something else: slots."""

    value: str  # NULL for what cannot be read
    type: str
    changed: str | None  # whether a cell that can be read is written otherwise; None: never
    reason: str
    says: str  # the end of a sentence: `is no whole number`


def take(sheet: Sheet, name: str, reading: Reading, on_error: str) -> None:
    old, new = sheet.columns[name], reading
    # As a CASE, since nothing more is then computed for most cells.
    failed = sheet.let(
        f"CASE WHEN {new.value} IS NULL THEN NOT {missing(old.slot)} ELSE false END", new.value, old.slot
    )
    match on_error:
        case "reject":
            detail = sheet.let(f"{shown(old.slot)} || ' {new.says}.'", old.slot)
            sheet.reject(failed, name, new.reason, detail)
            sheet.set(name, new.value, new.type, new.changed)
        case "null":
            flags = (failed,) if new.changed is None else (failed, new.changed)
            sheet.set(name, new.value, new.type, sheet.let(" OR ".join(flags), *flags))
        case _:
            kept = sheet.let(f"coalesce({written(new.value, new.type)}, {old.slot})", new.value, old.slot)
            sheet.set(name, kept, TEXT, sheet.let(f"{kept} <> {old.slot}", kept, old.slot))


def known(sheet: Sheet, names: Sequence[str], field: str = "columns") -> Iterable[str]:
    """These columns, all of which must be there."""
    for at, name in enumerate(names):
        if name not in sheet.columns:
            raise unknown(sheet, name, (field, at))
    return names


def unknown(sheet: Sheet, name: str, path: Path) -> WrongRule:
    hint = did_you_mean(name, sheet.columns)
    return WrongRule(path, "unknown_column", f"There is no column {name[:80]} at this place of the recipe.{hint}")


def texts(sheet: Sheet, names: Sequence[str], field: str = "columns") -> Iterable[str]:
    """These columns, which must be text; none are all that are."""
    for at, name in enumerate(known(sheet, names, field)):
        if sheet.columns[name].type != TEXT:
            said = f"{name[:80]} is {sheet.columns[name].type} at this place of the recipe: this rule is for text."
            raise WrongRule((field, at), "not_text", said)
    return names or sheet.texts()
