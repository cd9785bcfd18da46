"""Countries, by their names in several languages and by their codes."""

import unicodedata
from collections import defaultdict
from functools import cache
from typing import Annotated, Literal

from msgspec import Meta

from processor.cleaning.recipe.data.tables import Country as Entry
from processor.cleaning.recipe.data.tables import countries
from processor.cleaning.recipe.rules.rule import Names, OnError, Reading, Rule, take, texts
from processor.cleaning.recipe.sheet import Sheet
from processor.cleaning.sql import TEXT, WHITE, literal, lowered

_LANGUAGES = sorted({language for country in countries().values() for language in country.names})


class Country(Rule, frozen=True, tag="country"):
    """Countries by ISO 3166: from names in many languages, with accents or without, and from codes."""

    columns: Names
    on_error: OnError = "reject"
    to: Annotated[Literal["alpha2", "alpha3", "numeric", "name"], Meta(description="What is written: DE, DEU …")] = (
        "alpha2"
    )
    language: Annotated[
        str, Meta(extra_json_schema={"enum": _LANGUAGES}, description="Of the names that are written.")
    ] = "en"

    def apply(self, sheet: Sheet) -> None:
        written = {key: self._written(code, countries()[code]) for key, code in _codes().items()}
        for name in texts(sheet, self.columns):
            text = sheet.columns[name].slot
            # Marks say nothing in a name; a number with marks is no code.
            bare = (
                rf"CASE WHEN regexp_matches(t, '\p{{L}}') "
                r"THEN regexp_replace(lower(strip_accents(t)), '[^\p{L}\p{N}]+', '', 'g') "
                f"ELSE trim(t, {literal(WHITE)}) END"
            )
            value = sheet.look_up(sheet.let(sheet.call(bare, text), text), written)
            changed = sheet.let(f"{value} <> {text}", value, text)
            take(sheet, name, Reading(value, TEXT, changed, "not_country", "is no country"), self.on_error)

    def _written(self, code: str, country: Entry) -> str:
        match self.to:
            case "alpha2":
                return code
            case "alpha3":
                return country.alpha3
            case "numeric":
                return country.numeric
            case _:
                return (country.names.get(self.language) or country.names["en"])[0]


@cache
def _codes() -> dict[str, str]:
    """What a country may be called, in bare letters. What two are called so is left out."""
    found: dict[str, set[str]] = defaultdict(set)
    capitals: dict[str, set[str]] = defaultdict(set)  # KIBRIS has become kibris, which is no kıbrıs
    for code, country in countries().items():
        for text in (
            code,
            country.alpha3,
            country.numeric,
            *(name for names in country.names.values() for name in names),
        ):
            found[_bare(text)].add(code)
            capitals[_bare(text.upper())].add(code)
    all_ = {**capitals, **found}
    return {key: codes.pop() for key, codes in all_.items() if len(codes) == 1}


def _bare(text: str) -> str:
    parts = unicodedata.normalize("NFD", lowered(text))
    return "".join(character for character in unicodedata.normalize("NFC", _unmarked(parts)) if character.isalnum())


def _unmarked(text: str) -> str:
    return "".join(character for character in text if unicodedata.category(character) != "Mn")
