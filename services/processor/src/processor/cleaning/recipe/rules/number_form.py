"""How a text says a number, with the marks of any country."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from processor.cleaning.recipe.rules.rule import WrongRule
from processor.cleaning.sql import WHITE_CLASS, literal

_PLAIN = "-?(?:0|[1-9][0-9]*)"
# Besides the characters that Unicode has for currencies.
_CURRENCIES = (
    "EUR", "USD", "GBP", "CHF", "JPY", "CNY", "RMB", "INR", "AUD", "CAD", "NZD", "SEK", "NOK", "DKK", "PLN", "CZK",
    "HUF", "RON", "BGN", "TRY", "RUB", "UAH", "ILS", "SAR", "AED", "BRL", "MXN", "ARS", "CLP", "COP", "ZAR", "KRW",
    "HKD", "SGD", "THB", "IDR", "MYR", "PHP", "VND", "US$", "A$", "C$", "R$", "Fr.", "SFr.", "kr.", "kr", "zł",
    "Kč", "Ft", "lei",
)  # fmt: skip
_CURRENCY = rf"(?:\p{{Sc}}|(?i:{'|'.join(map(re.escape, sorted(_CURRENCIES, key=len, reverse=True)))}))"


@dataclass(frozen=True, slots=True)
class NumberForm:
    decimal: str = "."
    thousands: str = ""
    currency: bool = False
    percent: bool = False
    parentheses: bool = False

    def check(self) -> Iterator[WrongRule]:
        if self.decimal in self.thousands:
            yield WrongRule(("thousands",), "same_mark", f"{self.decimal} is the decimal mark already.")
        if odd := re.sub(r"[.,'’_·\s]", "", self.thousands):
            yield WrongRule(("thousands",), "wrong_mark", f"{odd[0]!r} cannot stand between groups of digits.")

    def plain(self, places: str) -> str:
        """The form in which SQL reads the same number as this rule does."""
        return _PLAIN + (rf"(?:\.{places})?" if self.decimal == "." else "")

    def normal(self, t: str, *, fraction: bool, power: bool = False) -> str:
        """The text `t` as SQL reads numbers, or NULL."""
        number = self._number(fraction=fraction, power=power)
        branches = [f"WHEN regexp_full_match({t}, {literal(f'-?{number}')}) THEN {self._unmarked(t)}"]
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
        bare = f"regexp_replace({t}, {literal(_CURRENCY)}, '')" if self.currency else t
        mark = re.escape(self.decimal)
        digits = rf"(?:[0-9]|{mark}[0-9])[0-9{mark}{''.join(map(re.escape, self.thousands))}{WHITE_CLASS}]*"
        digits += "(?:[eE][-+]?[0-9]+)?" if power else ""
        unsigned = self._unmarked(
            f"regexp_replace(regexp_extract({bare}, {literal(digits)}), '[{WHITE_CLASS}]', '', 'g')"
        )
        branches.append(
            f"WHEN regexp_full_match({t}, {literal(whole)}) "
            f"THEN CASE WHEN regexp_matches({t}, {literal(minus)}) THEN '-' ELSE '' END || {unsigned}"
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
