"""Texts that are days and times, in the forms of any country."""

import zoneinfo
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated

from msgspec import Meta

from processor.cleaning.recipe.data.tables import months
from processor.cleaning.recipe.rules.date_forms import FORMS, Form, WrongForm, parsed
from processor.cleaning.recipe.rules.letters import with_capitals
from processor.cleaning.recipe.rules.rule import Names, OnError, Reading, Rule, WrongRule, take, texts
from processor.cleaning.recipe.sheet import Sheet

_LANGUAGES = sorted(months())

Formats = Annotated[
    tuple[Annotated[str, Meta(min_length=1, max_length=100)], ...],
    Meta(
        min_length=1,
        max_length=50,
        description="The forms, of which the first by which a text is a date is taken: of %d %m %Y %y %B (a month's "
        "name, long or short) "
        f"%A (a day's name) %H %I %M %S %f %p %z and anything else as it is; or one of {', '.join(FORMS)}.",
    ),
]


class _Temporal(Rule, frozen=True):
    columns: Names
    on_error: OnError = "reject"
    formats: Formats = ("iso",)
    languages: Annotated[
        tuple[Annotated[str, Meta(extra_json_schema={"enum": _LANGUAGES})], ...],
        Meta(max_length=50, description="Of the names of months."),
    ] = ("en",)
    two_digit_years: Annotated[
        int, Meta(ge=1000, le=9900, description="The first of the hundred years that %y may mean.")
    ] = 1950

    def check(self) -> Iterator[WrongRule]:
        for at, form in enumerate(self.formats):
            try:
                self._check_form(parsed(form))
            except WrongForm as wrong:
                yield WrongRule(("formats", at), "wrong_format", str(wrong))
        meanings: dict[str, int] = {}
        for at, language in enumerate(self.languages):
            for word, month in months()[language].items():
                if meanings.setdefault(word, month) != month:
                    detail = f"{word} is another month in {language} than in a language before it."
                    yield WrongRule(("languages", at), "ambiguous", detail)
                    break

    def _check_form(self, form: Form) -> None:
        raise NotImplementedError

    def _forms(self) -> Sequence[Form]:
        return [parsed(form) for form in self.formats]

    def _names(self) -> Mapping[str, int]:
        return with_capitals({word: month for one in self.languages for word, month in months()[one].items()})


class Date(_Temporal, frozen=True, tag="date"):
    """Days."""

    def _check_form(self, form: Form) -> None:
        if not form.has_day:
            raise WrongForm("A date needs a day, a month and a year.")
        if form.has_time:
            raise WrongForm("A form of dates has no time: read it as a timestamp.")

    def apply(self, sheet: Sheet) -> None:
        forms = self._forms()
        names, years = self._names(), self.two_digit_years
        readings = (f"CAST({form.reading(names, years, day_only=True, zones=None)} AS DATE)" for form in forms)
        other = f"coalesce({', '.join(readings)})"
        usual = any(form.is_usual for form in forms)
        for name in texts(sheet, self.columns):
            text = sheet.columns[name].slot
            quick = sheet.let(forms[0].quick(text) or "CAST(NULL AS DATE)", text)
            # What a text means can only be trusted if it is written as its day is.
            written = f" AND CAST({quick} AS VARCHAR) = {text}" if forms[0].is_usual else ""
            plain = sheet.let(f"{quick} BETWEEN {_FIRST} AND {_LAST}{written}", quick, text)
            read = f"CASE WHEN {plain} THEN {quick} ELSE {sheet.call(other, text)} END"
            value = sheet.let(read, plain, quick, text)
            changed = f"CAST({value} AS VARCHAR) <> {text}" if usual else f"{value} IS NOT NULL"
            if forms[0].is_usual:
                changed = f"CASE WHEN {plain} THEN false ELSE {changed} END"
            changed = sheet.let(changed, plain, value, text)
            reading = Reading(value, "DATE", changed, "not_date", "is no date")
            take(sheet, name, reading, self.on_error)


_FIRST, _LAST = "DATE '1000-01-01'", "DATE '9999-12-31'"


class Timestamp(_Temporal, frozen=True, tag="timestamp"):
    """Days with a time."""

    zone: (
        Annotated[
            str,
            Meta(
                max_length=64,
                description="The time zone of texts that name none, such as Europe/Berlin: a time that comes twice "
                "there is the "
                "later one. Without it, a text that names "
                "one cannot be read, and the times are those that stand there.",
            ),
        ]
        | None
    ) = None
    to_zone: Annotated[str, Meta(max_length=64, description="The time zone of the result, if `zone` is given.")] = "UTC"

    def check(self) -> Iterator[WrongRule]:
        yield from _Temporal.check(self)
        for field, zone in (("zone", self.zone), ("to_zone", self.to_zone)):
            if zone is not None and zone not in zoneinfo.available_timezones():
                yield WrongRule((field,), "unknown_zone", f"There is no time zone {zone}.")

    def _check_form(self, form: Form) -> None:
        if not form.has_day:
            raise WrongForm("A timestamp needs a day, a month and a year.")
        if form.has_zone and self.zone is None:
            raise WrongForm("A form with a time zone needs `zone`, which is that of the texts without one.")

    def apply(self, sheet: Sheet) -> None:
        zones = None if self.zone is None else (self.zone, self.to_zone)
        names, years = self._names(), self.two_digit_years
        readings = (form.reading(names, years, day_only=False, zones=zones) for form in self._forms())
        other = f"coalesce({', '.join(readings)})"
        trusts_iso = self.formats[0] == "iso" and zones is None
        for name in texts(sheet, self.columns):
            text = sheet.columns[name].slot
            if trusts_iso:
                quick = sheet.let(f"TRY_CAST({text} AS TIMESTAMP)", text)
                within = f"{quick} >= {_FIRST} AND CAST({quick} AS DATE) <= {_LAST}"  # infinity is none
                plain = sheet.let(f"{within} AND CAST({quick} AS VARCHAR) = {text}", quick, text)
                read = f"CASE WHEN {plain} THEN {quick} ELSE {sheet.call(other, text)} END"
                value = sheet.let(read, plain, quick, text)
            else:
                value = sheet.let(sheet.call(other, text), text)
                plain = sheet.let(f"CAST({value} AS VARCHAR) = {text}", value, text)
            # `T` or a blank, and zeros at the end of a fraction, say the same.
            same = rf"regexp_replace(replace({text}, 'T', ' '), '(\.[0-9]*[1-9])0+$|\.0+$', '\1')"
            changed = f"CASE WHEN {plain} THEN false ELSE CAST({value} AS VARCHAR) <> {same} END"
            changed = sheet.let(changed, plain, value, text)
            reading = Reading(value, "TIMESTAMP", changed, "not_timestamp", "is no timestamp")
            take(sheet, name, reading, self.on_error)
