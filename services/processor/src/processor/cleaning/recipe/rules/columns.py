"""Rules for columns as a whole: which there are, what they are called, what becomes of one or several."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from msgspec import Meta

from processor.cleaning.recipe.rules.rule import Name, Names, Rule, WrongRule, known, texts, unknown
from processor.cleaning.recipe.rules.text import Pattern, wrong_patterns
from processor.cleaning.recipe.sheet import Column, Sheet
from processor.cleaning.sql import literal, missing, shown, written
from processor.language.problems import Path


class DropColumns(Rule, frozen=True, tag="drop_columns"):
    """Columns go."""

    columns: Names

    def apply(self, sheet: Sheet) -> None:
        gone = set(known(sheet, self.columns))
        if len(gone) == len(sheet.columns):
            raise WrongRule(("columns",), "no_columns", "These are all columns: at least one has to stay.")
        for name in gone:
            sheet.columns.pop(name)


class Rename(Rule, frozen=True, tag="rename"):
    """Columns get other names, and stay where they are."""

    names: Annotated[Mapping[Name, Name], Meta(min_length=1, max_length=10_000, description="Old names and new ones.")]

    def apply(self, sheet: Sheet) -> None:
        for name in self.names:
            if name not in sheet.columns:
                raise unknown(sheet, name, ("names", name))
        renamed: dict[str, Column] = {}
        taken: dict[str, str] = {}
        for name, column in sheet.columns.items():
            new = self.names.get(name, name)
            other = taken.setdefault(new.casefold(), name)
            # Names that a file came with may differ in case only.
            if new in renamed or (other != name and (name in self.names or other in self.names)):
                raise _taken(new, ("names", name if name in self.names else other))
            renamed[new] = column
        sheet.columns = renamed


class Split(Rule, frozen=True, tag="split"):
    """A text becomes several columns: what stands between separators, or the groups of a pattern."""

    column: Name
    into: Annotated[tuple[Name, ...], Meta(min_length=2, max_length=1_000, description="The new columns.")]
    by: Annotated[str, Meta(min_length=1, max_length=100, description="The separator.")] | None = None
    pattern: Pattern | None = None
    more: Annotated[
        Literal["last", "reject"],
        Meta(description="Of more parts than columns, the last column has the rest, or the row is rejected."),
    ] = "last"
    fewer: Annotated[
        Literal["null", "reject"],
        Meta(
            description="Of fewer parts than columns, or without a match, the others are null, or the row is rejected."
        ),
    ] = "null"
    keep: Annotated[bool, Meta(description="The column stays, too.")] = False

    def check(self) -> Iterator[WrongRule]:
        if (self.by is None) == (self.pattern is None):
            yield WrongRule(("by",), "one_of", "Either by or pattern must be given.")
        if self.pattern is not None:
            yield from wrong_patterns(self.pattern, ("pattern",), f"\\{min(9, len(self.into))}")
            if len(self.into) > 9:
                yield WrongRule(("into",), "too_long", "A pattern can give nine columns.")
            if not self.keep and self.fewer == "null":
                detail = "A text without a match would be lost: keep the column, or reject such rows."
                yield WrongRule(("fewer",), "would_lose", detail)

    def apply(self, sheet: Sheet) -> None:
        (_,) = texts(sheet, [self.column], "column")
        text, count = sheet.columns[self.column].slot, len(self.into)
        if self.pattern is not None:
            # What stands beside a match would be lost.
            found = "regexp_matches" if self.keep else "regexp_full_match"
            fits = sheet.let(sheet.call(f"{found}(t, {literal(self.pattern)})", text), text)
            parts = [
                sheet.let(
                    f"CASE WHEN {fits} THEN regexp_extract({text}, {literal(self.pattern)}, {at + 1}) END", fits, text
                )
                for at in range(count)
            ]
            too_few, too_many = f"NOT {fits}", None
            used = fits
        else:
            assert self.by is not None
            by = literal(self.by)
            used = sheet.let(f"CASE WHEN NOT {missing(text)} THEN string_split({text}, {by}) END", text)
            parts = [sheet.let(f"{used}[{at + 1}]", used) for at in range(count - 1)]
            parts.append(
                sheet.let(f"CASE WHEN len({used}) >= {count} THEN array_to_string({used}[{count}:], {by}) END", used)
            )
            too_few, too_many = f"len({used}) < {count}", f"len({used}) > {count}"
        if self.fewer == "reject":
            detail = sheet.let(f"{shown(text)} || ' has fewer than {count} parts.'", text)
            condition = sheet.let(f"NOT {missing(text)} AND {too_few}", text, used)
            sheet.reject(condition, self.column, "too_few_parts", detail)
        if self.more == "reject" and too_many is not None:
            detail = sheet.let(f"{shown(text)} || ' has more than {count} parts.'", text)
            sheet.reject(sheet.let(too_many, used), self.column, "too_many_parts", detail)
        new = dict(zip(self.into, map(Column, parts), strict=False))
        _put(sheet, self.column, [] if self.keep else [self.column], new, ("into", 0))


class Merge(Rule, frozen=True, tag="merge"):
    """Several columns become one text."""

    columns: Annotated[
        tuple[Name, ...], Meta(min_length=2, max_length=1_000, description="The columns, in this order.")
    ]
    into: Name
    by: Annotated[str, Meta(max_length=100, description="What stands between them.")] = " "
    skip_missing: Annotated[bool, Meta(description="Nothing stands for a missing one, nor beside it.")] = True
    keep: Annotated[bool, Meta(description="The columns stay, too.")] = False

    def apply(self, sheet: Sheet) -> None:
        columns = [sheet.columns[name] for name in known(sheet, self.columns)]
        cells = [f"nullif({written(column.slot, column.type)}, '')" for column in columns]
        if not self.skip_missing:
            cells = [f"coalesce({cell}, '')" for cell in cells]
        merged = sheet.let(f"concat_ws({literal(self.by)}, {', '.join(cells)})", *(column.slot for column in columns))
        _put(sheet, self.columns[0], [] if self.keep else self.columns, {self.into: Column(merged)}, ("into",))


def _put(sheet: Sheet, at: str, goes: Names | list[str], new: Mapping[str, Column], path: Path) -> None:
    """New columns after one, of which some go."""
    columns: dict[str, Column] = {}
    folded = {name.casefold() for name in new}
    for name, column in sheet.columns.items():
        if name not in goes:
            if name.casefold() in folded:
                raise _taken(name, path)
            columns[name] = column
        if name == at:
            columns |= new
    sheet.columns = columns


def _taken(name: str, path: Path) -> WrongRule:
    return WrongRule(path, "duplicate_column", f"There is a column {name[:80]} already at this place of the recipe.")
