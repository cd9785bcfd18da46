"""Texts that are numbers, with the marks of any country."""

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta

from processor.cleaning.recipe.rules.rule import Names, OnError, Reading, Rule, WrongRule, take, texts
from processor.cleaning.recipe.sheet import Sheet
from processor.cleaning.recipe.sql import WHITE_CLASS, bound, literal

# What DOUBLE keeps of any number.
_EXACT_DIGITS = 15
_PLAIN = "-?(?:0|[1-9][0-9]*)"
# Besides the characters that Unicode has for currencies.
_CURRENCIES = (
    "EUR", "USD", "GBP", "CHF", "JPY", "CNY", "RMB", "INR", "AUD", "CAD", "NZD", "SEK", "NOK", "DKK", "PLN", "CZK",
    "HUF", "RON", "BGN", "TRY", "RUB", "UAH", "ILS", "SAR", "AED", "BRL", "MXN", "ARS", "CLP", "COP", "ZAR", "KRW",
    "HKD", "SGD", "THB", "IDR", "MYR", "PHP", "VND", "US$", "A$", "C$", "R$", "Fr.", "SFr.", "kr.", "kr", "zł",
    "Kč", "Ft", "lei",
)  # fmt: skip
_CURRENCY = rf"(?:\p{{Sc}}|(?i:{'|'.join(map(re.escape, sorted(_CURRENCIES, key=len, reverse=True)))}))"

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
        if self.decimal in self.thousands:
            yield WrongRule(("thousands",), "same_mark", f"{self.decimal} is the decimal mark already.")
        if odd := re.sub(r"[.,'’_·\s]", "", self.thousands):
            yield WrongRule(("thousands",), "wrong_mark", f"{odd[0]!r} cannot stand between groups of digits.")

    def plain(self, places: str) -> str:
        """The form in which SQL reads the same number as this rule does."""
        return _PLAIN + (rf"(?:\.{places})?" if self.decimal == "." else "")

    def normal(self, *, fraction: bool, power: bool = False) -> str:
        """The text as SQL reads numbers, or NULL: for a macro."""
        number = self._number(fraction=fraction, power=power)
        branches = [f"WHEN regexp_full_match(t, {literal(f'-?{number}')}) THEN {self._unmarked('t')}"]
        white = f"[{WHITE_CLASS}]*"
        sign, currency = f"[-+−]{white}", f"{_CURRENCY}{white}" if self.currency else None
        before = f"(?:{sign}(?:{currency})?|{currency}(?:{sign})?)?" if currency else f"(?:{sign})?"
        after = (f"(?:{white}{_CURRENCY})?" if currency else "") + (f"(?:{white}%)?" if self.percent else "")
        forms, minus = [f"{before}{number}{after}"], "^[^0-9]*[-−]"
        if self.parentheses:
            unsigned = f"(?:{currency})?" if currency else ""
            forms.append(rf"\({white}{unsigned}{number}{after}{white}\)")
            forms.append(rf"{unsigned}{number}{after}{white}[-−]")
            minus = r"^[^0-9]*[-−(]|[-−][^0-9]*$"
        whole = f"{white}(?:{'|'.join(forms)}){white}"
        bare = f"regexp_replace(t, {literal(_CURRENCY)}, '')" if self.currency else "t"
        mark = re.escape(self.decimal)
        digits = rf"(?:[0-9]|{mark}[0-9])[0-9{mark}{''.join(map(re.escape, self.thousands))}{WHITE_CLASS}]*"
        digits += "(?:[eE][-+]?[0-9]+)?" if power else ""
        unsigned = self._unmarked(
            f"regexp_replace(regexp_extract({bare}, {literal(digits)}), '[{WHITE_CLASS}]', '', 'g')"
        )
        branches.append(
            f"WHEN regexp_full_match(t, {literal(whole)}) "
            f"THEN CASE WHEN regexp_matches(t, {literal(minus)}) THEN '-' ELSE '' END || {unsigned}"
        )
        return f"CASE {' '.join(branches)} END"

    def _unmarked(self, text: str) -> str:
        for mark in dict.fromkeys(self.thousands):
            text = f"replace({text}, {literal(mark)}, '')"
        return text if self.decimal == "." else f"replace({text}, {literal(self.decimal)}, '.')"

    def _number(self, *, fraction: bool, power: bool) -> str:
        """Groups have three digits, or two before the last one, as in India, and the same mark stands between all: what
        has another form is rather a mistake than a number."""
        groups = (rf"[0-9]{{1,3}}(?:{mark}[0-9]{{2,3}})*{mark}[0-9]{{3}}|" for mark in map(re.escape, self.thousands))
        mark = re.escape(self.decimal)
        whole = f"(?:{''.join(groups)}[0-9]+)"
        number = f"(?:{whole}(?:{mark}[0-9]*)?|{mark}[0-9]+)" if fraction else f"{whole}(?:{mark}0*)?"
        return number + ("(?:[eE][-+]?[0-9]{1,3})?" if power else "")


class Integer(Numeric, frozen=True, tag="integer"):
    """Whole numbers of up to 18 digits, and some of 19."""

    def apply(self, sheet: Sheet) -> None:
        other = f"TRY_CAST({self.normal(fraction=False)} AS BIGINT)"
        if self.percent:  # whole are only hundreds of them
            hundreds = bound(other, "CASE WHEN x % 100 = 0 THEN x // 100 END")
            other = f"CASE WHEN contains(t, '%') THEN {hundreds} ELSE {other} END"
        for name in texts(sheet, self.columns):
            text = sheet.columns[name].slot
            read = sheet.let(f"TRY_CAST({text} AS BIGINT)", text)
            plain = sheet.let(f"CAST({read} AS VARCHAR) = {text}", read, text)
            value = sheet.let(f"CASE WHEN {plain} THEN {read} ELSE {sheet.call(other, text)} END", plain, read, text)
            changed = sheet.let(f"NOT coalesce({plain}, false) AND {value} IS NOT NULL", plain, value)
            take(sheet, name, Reading(value, "BIGINT", changed, "not_integer", "is no whole number"), self.on_error)


class Number(Numeric, frozen=True, tag="number"):
    """Numbers as computers have them, with some 15 exact digits."""

    def apply(self, sheet: Sheet) -> None:
        form = literal(self.plain("[0-9]+"))
        is_plain = f"strlen(t) <= {_EXACT_DIGITS + 1} AND regexp_full_match(t, {form})"
        percent = "CASE WHEN contains(t, '%') THEN x / 100 ELSE x END" if self.percent else "x"
        other = f"TRY_CAST({self.normal(fraction=True, power=True)} AS DOUBLE)"
        other = bound(other, f"CASE WHEN isfinite(x) THEN {percent} END")
        for name in texts(sheet, self.columns):
            text = sheet.columns[name].slot
            plain = sheet.let(sheet.call(is_plain, text), text)
            read = f"CASE WHEN {plain} THEN TRY_CAST({text} AS DOUBLE) ELSE {sheet.call(other, text)} END"
            value = sheet.let(read, plain, text)
            changed = sheet.let(
                f"CASE WHEN {plain} THEN false ELSE CAST({value} AS VARCHAR) <> {text} END", plain, value, text
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
        form = literal(self.plain(f"[0-9]{{1,{self.scale}}}0*" if self.scale else "0+"))
        other = bound(self.normal(fraction=True), self._exact("x", type_, self.scale))
        if self.percent:
            scale = 18 if self.round else self.scale - 2
            hundredth = f"TRY_CAST(({self._exact('x', f'DECIMAL(35,{scale})', scale)}) * 0.01 AS {type_})"
            other = f"CASE WHEN contains(t, '%') THEN {bound(self.normal(fraction=True), hundredth)} ELSE {other} END"
        for name in texts(sheet, self.columns):
            text = sheet.columns[name].slot
            plain = sheet.let(sheet.call(f"regexp_full_match(t, {form})", text), text)
            read = f"CASE WHEN {plain} THEN TRY_CAST({text} AS {type_}) ELSE {sheet.call(other, text)} END"
            value = sheet.let(read, plain, text)
            changed = sheet.let(f"NOT {plain} AND {value} IS NOT NULL", plain, value)
            says = f"is no number of {self.precision} digits, {self.scale} of them after the mark"
            take(sheet, name, Reading(value, type_, changed, "not_decimal", says), self.on_error)

    def _exact(self, text: str, type_: str, scale: int) -> str:
        cast = f"TRY_CAST({text} AS {type_})"
        if self.round:
            return cast
        return rf"CASE WHEN NOT regexp_matches({text}, '\.[0-9]{{{scale}}}0*[1-9]') THEN {cast} END"
