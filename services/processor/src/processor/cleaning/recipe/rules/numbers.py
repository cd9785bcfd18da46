"""Texts that are numbers, with the marks of any country."""

from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta

from processor.cleaning.recipe.rules.number_form import NumberForm
from processor.cleaning.recipe.rules.rule import Names, OnError, Reading, Rule, WrongRule, take, texts
from processor.cleaning.recipe.sheet import Sheet
from processor.cleaning.sql import bound, literal

# What DOUBLE keeps of any number.
_EXACT_DIGITS = 15
_LONGEST_PLAIN = 300  # digits, beyond which a number may be none that DOUBLE has
Thousands = Annotated[
    str, Meta(max_length=10, description="The characters that may stand between groups of digits; none for no groups.")
]


class Numeric(Rule, frozen=True):
    columns: Names
    on_error: OnError = "reject"
    decimal: Annotated[Literal[".", ","], Meta(description="What stands before the fraction.")] = "."
    thousands: Thousands = ""
    currency: Annotated[bool, Meta(description="A currency's sign or code may stand before or after it.")] = False
    percent: Annotated[bool, Meta(description="12 % is read as 0.12.")] = False
    parentheses: Annotated[bool, Meta(description="(12) is read as -12, and so is 12-.")] = False

    def check(self) -> Iterator[WrongRule]:
        yield from self.form.check()

    @property
    def form(self) -> NumberForm:
        return NumberForm(self.decimal, self.thousands, self.currency, self.percent, self.parentheses)


class Integer(Numeric, frozen=True, tag="integer"):
    """Whole numbers of up to 18 digits, and some of 19."""

    def apply(self, sheet: Sheet) -> None:
        other = f"TRY_CAST({self.form.normal('t', fraction=False)} AS BIGINT)"
        if self.percent:  # whole are only hundreds of them
            hundreds = bound(other, "CASE WHEN x % 100 = 0 THEN x // 100 END")
            other = f"CASE WHEN contains(t, '%') THEN {hundreds} ELSE {other} END"
        for name in texts(sheet, self.columns):
            text = sheet.columns[name].slot
            read = sheet.let(f"TRY_CAST({text} AS BIGINT)", text)
            plain = sheet.let(f"CAST({read} AS VARCHAR) = {text}", read, text)
            value = sheet.let(f"CASE WHEN {plain} THEN {read} ELSE {sheet.call(other, text)} END", plain, read, text)
            changed = sheet.let(f"CASE WHEN {plain} THEN false ELSE {value} IS NOT NULL END", plain, value)
            take(sheet, name, Reading(value, "BIGINT", changed, "not_integer", "is no whole number"), self.on_error)


class Number(Numeric, frozen=True, tag="number"):
    """Numbers as computers have them, with some 15 exact digits."""

    def apply(self, sheet: Sheet) -> None:
        form = literal(self.form.plain("[0-9]+"))
        is_plain = f"strlen(t) <= {_LONGEST_PLAIN} AND regexp_full_match(t, {form})"
        percent = "CASE WHEN contains(t, '%') THEN x / 100 ELSE x END" if self.percent else "x"
        other = f"TRY_CAST({self.form.normal('t', fraction=True, power=True)} AS DOUBLE)"
        other = bound(other, f"CASE WHEN isfinite(x) THEN {percent} END")
        for name in texts(sheet, self.columns):
            text = sheet.columns[name].slot
            plain = sheet.let(sheet.call(is_plain, text), text)
            read = f"CASE WHEN {plain} THEN TRY_CAST({text} AS DOUBLE) ELSE {sheet.call(other, text)} END"
            value = sheet.let(read, plain, text)
            changed = sheet.let(
                f"CASE WHEN {plain} AND strlen({text}) <= {_EXACT_DIGITS} + contains({text}, '.')::INTEGER THEN false "
                f"ELSE CAST({value} AS VARCHAR) <> {text} "
                f"AND (strlen({text}) > {_EXACT_DIGITS + 1} OR CAST({value} AS VARCHAR) <> {text} || '.0') END",
                *(plain, value, text),
            )
            take(sheet, name, Reading(value, "DOUBLE", changed, "not_number", "is no number"), self.on_error)


class Decimal(Numeric, frozen=True, tag="decimal"):
    """Numbers with a fixed count of digits after the mark, exactly."""

    scale: Annotated[int, Meta(ge=0, le=18, description="How many digits come after the mark.")] = 2
    precision: Annotated[int, Meta(ge=1, le=38, description="How many digits there are in all.")] = 18
    round: Annotated[bool, Meta(description="A number with more digits is rounded, and is an error otherwise.")] = False

    def check(self) -> Iterator[WrongRule]:
        yield from Numeric.check(self)
        if self.scale > self.precision:
            yield WrongRule(("scale",), "out_of_range", "A number has not more digits after the mark than in all.")
        if self.percent and self.scale < 2:
            yield WrongRule(("scale",), "out_of_range", "1 % is 0.01, which has two digits after the mark.")

    def apply(self, sheet: Sheet) -> None:
        type_ = f"DECIMAL({self.precision},{self.scale})"
        form = literal(self.form.plain(f"[0-9]{{1,{self.scale}}}0*" if self.scale else "0+"))
        other = bound(self.form.normal("t", fraction=True), self._exact("x", type_, self.scale))
        if self.percent:
            scale = 18 if self.round else self.scale - 2
            hundredth = f"TRY_CAST(({self._exact('x', f'DECIMAL(35,{scale})', scale)}) * 0.01 AS {type_})"
            shifted = bound(self.form.normal("t", fraction=True), hundredth)
            other = f"CASE WHEN contains(t, '%') THEN {shifted} ELSE {other} END"
        for name in texts(sheet, self.columns):
            text = sheet.columns[name].slot
            quick = sheet.let(f"TRY_CAST({text} AS {type_})", text)
            # SQL's own mark may stand between thousands here.
            usual = f"CAST({quick} AS VARCHAR) = {text}" if self.decimal == "." or not self.scale else "false"
            plain = sheet.let(
                f"CASE WHEN {usual} THEN true ELSE {sheet.call(f'regexp_full_match(t, {form})', text)} END", quick, text
            )
            read = f"CASE WHEN {plain} THEN {quick} ELSE {sheet.call(other, text)} END"
            value = sheet.let(read, plain, quick, text)
            changed = sheet.let(f"CASE WHEN {plain} THEN false ELSE {value} IS NOT NULL END", plain, value)
            says = f"is no number of {self.precision} digits, {self.scale} of them after the mark"
            take(sheet, name, Reading(value, type_, changed, "not_decimal", says), self.on_error)

    def _exact(self, text: str, type_: str, scale: int) -> str:
        cast = f"TRY_CAST({text} AS {type_})"
        if self.round:
            return cast
        return rf"CASE WHEN NOT regexp_matches({text}, '\.[0-9]{{{scale}}}0*[1-9]') THEN {cast} END"
