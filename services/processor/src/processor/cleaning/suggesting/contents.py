"""Text columns that hold something with a form of its own: amounts, shares, quantities, addresses, countries."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import msgspec

from processor.cleaning.recipe.data.tables import countries
from processor.cleaning.recipe.rules.contacts import Email, Phone
from processor.cleaning.recipe.rules.countries import Country
from processor.cleaning.recipe.rules.numbers import Number
from processor.cleaning.recipe.rules.rule import Rule
from processor.cleaning.recipe.rules.units import UNITS, Unit
from processor.cleaning.suggesting.proposal import Choice, Found, Proposal, Question, nothing
from processor.cleaning.suggesting.typed import fixed
from processor.cleaning.suggesting.values import Sample, Values

_FEWEST, _NEARLY_ALL, _ALL = 5, 0.95, 0.99  # values, and the share of them that must be read
_MOST_LOOKED_AT = 2_000  # different values
_SIGN = re.compile(r"[^\d\s.,'’+()%-]+")
_QUANTITY = re.compile(r"\s*[-+]?[\d.,'’ ]*\d\s*([^\d\s.,][^\s]*)\s*")
_MARKS = ((".", ","), (",", "."), (".", " "), (",", " "), (".", "'"), (".", "’"))  # decimals, thousands
_COUNTRY_NAMES = re.compile(
    r"countr|nation|land$|^land|staat|pays|pa[ií]s|paese|land_?code|iso_?(?:alpha)?_?[23]|ülke|kraj|страна",
    re.IGNORECASE,
)
_MOST_SHOWN = 3
_LONG_NAME = 4  # letters, from which on a text is no code of a country


def propose_contents(name: str, sample: Sample, nulls: tuple[str, ...]) -> Found:
    values = sample.values(name, nulls)
    frequent = values.frequent(_MOST_LOOKED_AT)
    if sum(count for _, count in frequent) < _FEWEST:
        return nothing()
    texts = [text for text, _ in frequent]
    for look in (_email, _phone, _amount, _quantity, _country):
        found = look(name, values, texts, sample, nulls)
        if found is not None:
            return found
    return nothing()


def _email(name: str, values: Values, texts: list[str], sample: Sample, nulls: tuple[str, ...]) -> Found | None:
    rule = Email(columns=(name,), on_error="keep")
    if sum("@" in text for text in texts) < _NEARLY_ALL * len(texts) or values.fits(rule).share < _NEARLY_ALL:
        return None
    return _kept(rule, "The values are e-mail addresses.", values)


def _phone(name: str, values: Values, texts: list[str], sample: Sample, nulls: tuple[str, ...]) -> Found | None:
    rule = Phone(columns=(name,), on_error="keep")
    foreign = sum(text.startswith(("+", "(+")) for text in texts)
    if foreign < len(texts) / 2:
        return None
    fits = values.fits(rule)
    if fits.share >= _NEARLY_ALL:
        why = "The values are telephone numbers with the codes of their countries."
        return _kept(rule, why, values)
    if values.fits(msgspec.structs.replace(rule, country="US")).share < _NEARLY_ALL:
        return None
    asks = f"Some telephone numbers in {name} name no country. Which one do they belong to? `country` says it."
    return Found([], [Question((name,), asks, (Choice("Those that name one only.", rule),))])


def _amount(name: str, values: Values, texts: list[str], sample: Sample, nulls: tuple[str, ...]) -> Found | None:
    """Numbers with a currency, a percent sign, or in parentheses."""
    if sum(any(sign.isdigit() for sign in text) for text in texts) < _NEARLY_ALL * len(texts):
        return None
    currencies = {sign for text in texts for sign in _SIGN.findall(text)}
    shares = sum(text.rstrip().endswith("%") for text in texts)
    marked = sum("(" in text or bool(_SIGN.search(text)) or "%" in text for text in texts)
    if not marked or len(currencies) > 1 or 0 < shares < len(texts) or (shares and currencies):
        return None
    several: list[Rule] = []
    for decimal, thousands in _MARKS:
        rule = Number(
            columns=(name,),
            decimal="," if decimal == "," else ".",
            thousands=thousands,
            currency=bool(currencies),
            percent=bool(shares),
            parentheses=any("(" in text for text in texts),
        )
        if values.fits(rule).share >= _ALL:
            several.append(rule)
    if not several:
        return None
    everywhere = sample.all_values(name, nulls)
    read = {rule: everywhere.fits(rule).read for rule in several}
    best = [rule for rule in several if read[rule] == max(read.values())]
    rules = [(isinstance(rule, Number) and fixed(rule, everywhere)) or rule for rule in best]
    what = (
        f"amounts of money in {currencies.copy().pop()}" if currencies else "shares in percent" if shares else "numbers"
    )
    if len({_as_read(rule, values) for rule in rules}) > 1:
        choices = tuple(Choice(f"{_decimal_of(rule)!r} is before decimals.", rule) for rule in rules[:2])
        return Found(
            [], [Question((name,), f"The {what} in {name} can be read in two ways. Which one is meant?", choices)]
        )
    if currencies and everywhere.count(f"NOT contains(c0, '{_quoted(currencies)}')"):
        return nothing()  # of those without it, nobody says what they are in
    signs = "; the sign goes, since all have it" if currencies else "; 12 % becomes 0.12" if shares else ""
    return Found([Proposal(rules[0], f"The values are {what}{signs}.")], [])


def _quoted(currencies: set[str]) -> str:
    return next(iter(currencies)).replace("'", "''")


def _as_read(rule: Rule, values: Values) -> str:
    """What the values are by the rule, all together."""
    return values.digest(rule)


def _decimal_of(rule: Rule) -> str:
    return str(getattr(rule, "decimal", "."))


def _quantity(name: str, values: Values, texts: list[str], sample: Sample, nulls: tuple[str, ...]) -> Found | None:
    used = Counter[str]()
    for text, rows in values.frequent(_MOST_LOOKED_AT):
        if (found := _QUANTITY.fullmatch(text)) is not None:
            used[found[1]] += rows
    if used.total() < _ALL * values.count():
        return None
    for dimension in UNITS.values():
        known = [unit for unit, _ in used.most_common() if unit in dimension]
        if not known:
            continue
        fitting = [rule for rule in _units(name, known[0]) if values.fits(rule).share >= _ALL]
        if not fitting:
            continue
        if len({_as_read(rule, values) for rule in fitting}) > 1:
            choices = tuple(Choice(f"{_decimal_of(rule)!r} is before decimals.", rule) for rule in fitting)
            asks = f"The quantities in {name} can be read in two ways. Which one is meant?"
            return Found([], [Question((name,), asks, choices)])
        why = f"The values are quantities with a unit, and become numbers in {known[0]}, which most are in."
        return Found([Proposal(fitting[0], why)], [])
    return None


def _units(name: str, unit: str) -> Iterator[Unit]:
    yield Unit(columns=(name,), to=unit, decimal=".", thousands=",")
    yield Unit(columns=(name,), to=unit, decimal=",", thousands=".")


def _country(name: str, values: Values, texts: list[str], sample: Sample, nulls: tuple[str, ...]) -> Found | None:
    frequent = dict(values.frequent(_MOST_LOOKED_AT))
    known = sum(rows for text, rows in frequent.items() if text.casefold() in _known_countries())
    long = sum(len(text) >= _LONG_NAME for text in texts)
    # Two letters are a state, a language, or anything.
    if 2 * known < sum(frequent.values()) or not (_COUNTRY_NAMES.search(name) or long > len(texts) / 2):
        return None
    rule = Country(columns=(name,), on_error="keep", **_usual_form(frequent))
    if values.fits(rule).share < _NEARLY_ALL or 2 * values.changed(rule) > values.count():
        return None
    how = f"names in the language {rule.language}" if rule.to == "name" else rule.to
    why = f"The values are countries, and most are written as {how}."
    return _kept(rule, why, values)


@cache
def _known_countries() -> frozenset[str]:
    named = {name for country in countries().values() for names in country.names.values() for name in names}
    codes = {code for two, country in countries().items() for code in (two, country.alpha3, country.numeric)}
    return frozenset(text.casefold() for text in named | codes)


def _usual_form(frequent: Mapping[str, int]) -> dict[str, Any]:
    """How most of the values are written."""
    forms: Counter[tuple[str, str]] = Counter()
    for two, country in countries().items():
        for text, form in ((two, "alpha2"), (country.alpha3, "alpha3"), (country.numeric, "numeric")):
            forms[form, "en"] += frequent.get(text, 0)
        for language, names in country.names.items():
            forms["name", language] += frequent.get(names[0], 0)
    form, language = max(forms, key=lambda one: (forms[one], one == ("name", "en")))
    return {"to": form, "language": language} if form == "name" else {"to": form}


def _kept(rule: Rule, why: str, values: Values) -> Found:
    fits = values.fits(rule)
    if wrong := fits.values - fits.read:
        shown = ", ".join(repr(text[:40]) for text in values.unread(rule, _MOST_SHOWN))
        why = f"{why} Of the {fits.values:,} that were looked at, {wrong:,} are not, and stay as they are: {shown}."
    return Found([Proposal(rule, why)], [])
