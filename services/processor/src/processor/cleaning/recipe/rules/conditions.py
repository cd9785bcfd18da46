"""Rules that refuse rows by what is in them."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from processor.cleaning.recipe.rules.rule import Name, Names, Rule, Words, WrongRule, known, unknown
from processor.cleaning.recipe.rules.text import Pattern, wrong_patterns
from processor.cleaning.recipe.rules.values import Value, is_more, value_of
from processor.cleaning.recipe.sheet import Sheet
from processor.cleaning.sql import TEXT, literal, literals, missing, shown, written
from processor.language.problems import Path

Operator = Literal["equal", "not_equal", "less", "at_most", "more", "at_least", "in", "matches", "missing", "present"]
_COMPARED = {"equal": "=", "not_equal": "<>", "less": "<", "at_most": "<=", "more": ">", "at_least": ">="}


class Condition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    column: Name
    is_: Annotated[Operator, Meta(description="How its cell is compared. A missing cell is only `missing`.")] = (
        msgspec.field(name="is")
    )
    value: Value | None = None
    values: Annotated[tuple[Value, ...], Meta(max_length=10_000, description="For `in`.")] = ()


class DropRows(Rule, frozen=True, tag="drop_rows"):
    """Rows go for which all of these conditions are true. They are found among the rejects."""

    where: Annotated[tuple[Condition, ...], Meta(min_length=1, max_length=100, description="The conditions.")]

    def check(self) -> Iterator[WrongRule]:
        for at, one in enumerate(self.where):
            needs_value = one.is_ in _COMPARED or one.is_ == "matches"
            if needs_value != (one.value is not None):
                what = "needs a value" if needs_value else "takes no value"
                yield WrongRule(("where", at, "value"), "wrong_value", f"`{one.is_}` {what}.")
            if (one.is_ == "in") != bool(one.values):
                what = "needs values" if one.is_ == "in" else "takes no values: only `in` does"
                yield WrongRule(("where", at, "values"), "wrong_value", f"`{one.is_}` {what}.")
            if one.is_ == "matches" and one.value is not None:
                yield from wrong_patterns(str(one.value), ("where", at, "value"))

    def apply(self, sheet: Sheet) -> None:
        parts, slots = [], []
        for at, one in enumerate(self.where):
            path: Path = ("where", at)
            if one.column not in sheet.columns:
                raise unknown(sheet, one.column, (*path, "column"))
            parts.append(_holds(sheet, one, path))
            slots.append(sheet.columns[one.column].slot)
        condition = sheet.let(" AND ".join(parts), *slots)
        sheet.reject(condition, None, "dropped", sheet.let("'The rule drops such rows.'"))


def _holds(sheet: Sheet, one: Condition, path: Path) -> str:
    column = sheet.columns[one.column]
    is_missing = missing(column.slot, column.type)
    match one.is_:
        case "missing":
            return is_missing
        case "present":
            return f"NOT {is_missing}"
        case "in":
            places = ((value, (*path, "values", at)) for at, value in enumerate(one.values))
            values = ", ".join(value_of(column, value, place, to_have=True) for value, place in places)
            return f"(NOT {is_missing} AND list_contains([{values}], {column.slot}))"
        case "matches":
            if column.type != TEXT:
                raise WrongRule((*path, "column"), "not_text", "Only a text can match a pattern.")
            return f"(NOT {is_missing} AND regexp_matches({column.slot}, {literal(str(one.value))}))"
        case compared:
            assert one.value is not None
            value = value_of(column, one.value, (*path, "value"))
            return f"(NOT {is_missing} AND {column.slot} {_COMPARED[compared]} {value})"


class Range(Rule, frozen=True, tag="range"):
    """Values are between two others, both included."""

    columns: Names
    min: Value | None = None
    max: Value | None = None
    on_error: Annotated[
        Literal["reject", "null", "clip"],
        Meta(description="The row is rejected, the cell is made null, or it becomes the nearest value that may be."),
    ] = "reject"

    def check(self) -> Iterator[WrongRule]:
        if self.min is None and self.max is None:
            yield WrongRule(("min",), "one_of", "At least one of min and max must be given.")
        if self.min is not None and self.max is not None and is_more(self.min, self.max):
            yield WrongRule(("min",), "out_of_range", "Nothing is between them: min is more than max.")

    def apply(self, sheet: Sheet) -> None:
        for at, name in enumerate(known(sheet, self.columns)):
            column = sheet.columns[name]
            if column.type == TEXT:
                raise WrongRule(("columns", at), "is_text", f"{name[:80]} is text: give it a type before.")
            clips = self.on_error == "clip"
            least = None if self.min is None else value_of(column, self.min, ("min",), to_have=clips)
            most = None if self.max is None else value_of(column, self.max, ("max",), to_have=clips)
            sides = [(f"{column.slot} < {least}", least), (f"{column.slot} > {most}", most)]
            given = [(condition, bound) for condition, bound in sides if bound is not None]
            outside = sheet.let(" OR ".join(condition for condition, _ in given), column.slot)
            if self.on_error == "reject":
                detail = f"{shown(column.slot, column.type)} || ' is not between {{}} and {{}}.'"
                ends = (str("any" if end is None else end).replace("'", "''") for end in (self.min, self.max))
                sheet.reject(outside, name, "out_of_range", sheet.let(detail.format(*ends), column.slot))
                continue
            whens = " ".join(f"WHEN {condition} THEN {bound}" for condition, bound in given)
            whens = whens if clips else f"WHEN {outside} THEN NULL"
            value = sheet.let(f"CASE {whens} ELSE {column.slot} END", outside, column.slot)
            sheet.set(name, value, column.type, outside)


class Expected(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """What the cells of one column have to be."""

    required: Annotated[bool, Meta(description="No cell is missing.")] = False
    type: Annotated[
        Literal["text", "integer", "number", "boolean", "date", "timestamp"] | None,
        Meta(description="What they are, or can be read as in its usual form."),
    ] = None
    pattern: Pattern | None = None
    enum: Annotated[Words, Meta(description="All that they may be.")] = ()
    min_length: Annotated[int, Meta(ge=0, description="In characters.")] | None = None
    max_length: Annotated[int, Meta(ge=0, description="In characters.")] | None = None


# Doubled braces: what they are in is formatted.
_DAY = "[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}"
_TIME = r"[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}(?:\.[0-9]{{1,6}})?"
_FORMS = {
    "integer": "regexp_full_match({0}, '-?(?:0|[1-9][0-9]*)') AND TRY_CAST({0} AS BIGINT) IS NOT NULL",
    "number": r"regexp_full_match({0}, '-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?')",
    "boolean": "list_contains(['true', 'false'], lower({0}))",
    "date": f"CAST(TRY_CAST({{0}} AS DATE) AS VARCHAR) = {{0}} AND regexp_full_match({{0}}, '{_DAY}')",
    "timestamp": f"regexp_full_match({{0}}, '{_DAY}[T ]{_TIME}') AND TRY_CAST({{0}} AS TIMESTAMP) IS NOT NULL",
}  # fmt: skip
_TYPES = {
    "BIGINT": ("integer", "number"), "DOUBLE": ("number",), "DECIMAL": ("number",), "BOOLEAN": ("boolean",),
    "DATE": ("date",), "TIMESTAMP": ("timestamp",),
}  # fmt: skip


class Schema(Rule, frozen=True, tag="schema"):
    """Rows are rejected whose cells are not what they have to be. Nothing is changed."""

    columns: Annotated[Mapping[Name, Expected], Meta(min_length=1, max_length=10_000, description="By columns.")]
    others: Annotated[bool, Meta(description="There may be other columns.")] = True

    def check(self) -> Iterator[WrongRule]:
        for name, expected in self.columns.items():
            if expected.pattern is not None:
                yield from wrong_patterns(expected.pattern, ("columns", name, "pattern"))
            least, most = expected.min_length, expected.max_length
            if least is not None and most is not None and least > most:
                detail = "No text has such a length: min_length is more than max_length."
                yield WrongRule(("columns", name, "min_length"), "out_of_range", detail)

    def apply(self, sheet: Sheet) -> None:
        for name in self.columns:
            if name not in sheet.columns:
                raise unknown(sheet, name, ("columns", name))
        if not self.others and (more := next((name for name in sheet.columns if name not in self.columns), None)):
            raise WrongRule(
                ("others",), "other_column", f"The table has a column {more[:80]}, which is not in the schema."
            )
        for name, expected in self.columns.items():
            self._expect(sheet, name, expected)

    def _expect(self, sheet: Sheet, name: str, expected: Expected) -> None:
        column = sheet.columns[name]
        slot, is_missing = column.slot, missing(column.slot, column.type)
        text = sheet.let(written(slot, column.type), slot)
        if expected.required:
            sheet.reject(sheet.let(is_missing, slot), name, "missing", sheet.let("'The cell is missing.'"))
        wrong: list[tuple[str, str, str]] = []
        if expected.type is not None and expected.type != "text":
            if column.type == TEXT:
                wrong.append(
                    (
                        f"NOT coalesce({_FORMS[expected.type].format(text)}, false)",
                        f"not_{expected.type}",
                        f"is no {expected.type}",
                    )
                )
            elif expected.type not in _TYPES[column.type.partition("(")[0]]:
                detail = f"{name[:80]} is {column.type} at this place of the recipe, never {expected.type}."
                raise WrongRule(("columns", name, "type"), "wrong_type", detail)
        if expected.pattern is not None:
            fits = sheet.call(f"regexp_full_match(t, {literal(expected.pattern)})", text)
            wrong.append((f"NOT {fits}", "wrong_form", "does not match the pattern"))
        if expected.enum:
            wrong.append(
                (
                    f"NOT list_contains([{literals(expected.enum)}], {text})",
                    "not_one_of",
                    "is none of those that may be",
                )
            )
        if expected.min_length is not None:
            wrong.append(
                (
                    f"length({text}) < {expected.min_length}",
                    "too_short",
                    f"has fewer than {expected.min_length} characters",
                )
            )
        if expected.max_length is not None:
            wrong.append(
                (
                    f"length({text}) > {expected.max_length}",
                    "too_long",
                    f"has more than {expected.max_length} characters",
                )
            )
        for condition, reason, says in wrong:
            refused = sheet.let(f"NOT {is_missing} AND {condition}", slot, text)
            sheet.reject(refused, name, reason, sheet.let(f"{shown(text)} || ' {says}.'", text))
