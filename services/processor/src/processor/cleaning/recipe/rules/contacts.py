"""How to reach somebody: telephone numbers and e-mail addresses."""

from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta

from processor.cleaning.recipe.data.tables import Telephones, countries
from processor.cleaning.recipe.rules.rule import Names, OnError, Reading, Rule, WrongRule, take, texts
from processor.cleaning.recipe.sheet import Sheet
from processor.cleaning.sql import TEXT, WHITE_CLASS, bound, literal, literals

_LABEL = r"[\p{L}\p{N}](?:[\p{L}\p{N}-]*[\p{L}\p{N}])?"
_ATOM = r"[\p{L}\p{N}!#$%&'*+/=?^_`{|}~-]+"
_DOMAIN = rf"(?:{_LABEL}\.)+\p{{L}}(?:[\p{{L}}\p{{N}}-]*[\p{{L}}\p{{N}}])"
_EMAIL = rf"[{WHITE_CLASS}]*(?:(?i:mailto:))?({_ATOM}(?:\.{_ATOM})*)@({_DOMAIN})"
# What most addresses are, which is seen ten times as fast: in small letters, and shorter than anything may be.
_USUAL_EMAIL = r"[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*@(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z](?:[a-z0-9-]*[a-z0-9])"
_LONGEST_EMAIL, _LONGEST_LOCAL, _LONGEST_LABEL = 254, 64, 63


class Email(Rule, frozen=True, tag="email"):
    """E-mail addresses, without `mailto:` and white space, and with their domain in small letters."""

    columns: Names
    on_error: OnError = "reject"
    lower: Annotated[
        Literal["domain", "whole"], Meta(description="What is written in small letters; few hosts tell people by case.")
    ] = "domain"

    def apply(self, sheet: Sheet) -> None:
        pattern = literal(f"^(?:{_EMAIL})[{WHITE_CLASS}]*$")
        local, domain = f"regexp_extract(t, {pattern}, 1)", f"lower(regexp_extract(t, {pattern}, 2))"
        whole = f"{'lower' if self.lower == 'whole' else ''}({local}) || '@' || {domain}"
        labels = "list_transform(string_split(x, '@')[2].string_split('.'), lambda label: strlen(label))"
        fits = (
            f"strlen(x) <= {_LONGEST_EMAIL} AND strpos(x, '@') <= {_LONGEST_LOCAL + 1} "
            f"AND list_max({labels}) <= {_LONGEST_LABEL}"
        )
        usual = f"strlen(t) <= {_LONGEST_LABEL} AND regexp_full_match(t, {literal(_USUAL_EMAIL)})"
        other = bound(whole, f"CASE WHEN {fits} THEN x END")
        body = f"CASE WHEN {usual} THEN t WHEN regexp_matches(t, {pattern}) THEN {other} END"
        _take(sheet, self.columns, body, Reading("", TEXT, None, "not_email", "is no e-mail address"), self.on_error)


class Phone(Rule, frozen=True, tag="phone"):
    """Telephone numbers, as E.164 has them: +493012345678. A number may be right and belong to nobody: looked at are
    its country's code and how long its numbers may be."""

    columns: Names
    on_error: OnError = "reject"
    country: (
        Annotated[
            str,
            Meta(
                pattern="^[A-Z]{2}$",
                description="Of numbers that name none, by ISO 3166: DE. Without it, such a number cannot be read.",
                extra_json_schema={"x-says": "two capital letters"},
            ),
        ]
        | None
    ) = None

    def check(self) -> Iterator[WrongRule]:
        if self.country is not None and _plan(self.country) is None:
            yield WrongRule(("country",), "unknown_country", f"There are no telephone numbers of {self.country}.")

    def apply(self, sheet: Sheet) -> None:
        here = _plan(self.country) if self.country is not None else None
        lengths: dict[str, int] = {}
        for country in countries().values():
            if (plan := country.phone) is not None:
                lengths[plan.code] = lengths.get(plan.code, 0) | sum(1 << length for length in plan.lengths)
        codes = sorted(lengths)  # none is the beginning of another
        abroad = "00|011" if here is not None and here.code == "1" else "00"
        digits = "regexp_replace({}, '[^0-9]', '', 'g')"
        # Between the code and the number, many write the zero that is only dialled at home.
        foreign = digits.format(rf"regexp_replace(regexp_replace(t, '\(0\)', ''), '^[^0-9+]*(?:\+|{abroad})', '')")
        branches = f"WHEN regexp_matches(t, '^[^0-9+]*(?:\\+|{abroad})') THEN {foreign} "
        if here is not None:
            trunk = f"^{here.trunk}" if here.trunk else "^$"
            branches += f"ELSE '{here.code}' || regexp_replace({digits.format('t')}, '{trunk}', '')"
        code = f"list_position([{literals(codes)}], regexp_extract(x, '^(?:{'|'.join(codes)})'))"
        masks = ", ".join(str(lengths[code]) for code in codes)
        sizes = ", ".join(str(len(code)) for code in codes)
        is_long = f"([{masks}][{code}] >> (strlen(x) - [{sizes}][{code}])) & 1 = 1"
        number = bound(f"CASE {branches} END", f"CASE WHEN strlen(x) BETWEEN 4 AND 20 AND {is_long} THEN '+' || x END")
        looks = rf"(?i)[{WHITE_CLASS}]*(?:tel:|tel\.)?[{WHITE_CLASS}]*\+?[0-9{WHITE_CLASS}()./‐-―-]*"
        body = f"CASE WHEN regexp_full_match(t, {literal(looks)}) THEN {number} END"
        _take(sheet, self.columns, body, Reading("", TEXT, None, "not_phone", "is no telephone number"), self.on_error)


def _plan(country: str) -> Telephones | None:
    there = countries().get(country)
    return there.phone if there is not None else None


def _take(sheet: Sheet, columns: Names, body: str, reading: Reading, on_error: str) -> None:
    for name in texts(sheet, columns):
        text = sheet.columns[name].slot
        value = sheet.let(sheet.call(body, text), text)
        changed = sheet.let(f"{value} <> {text}", value, text)
        take(sheet, name, Reading(value, TEXT, changed, reading.reason, reading.says), on_error)
