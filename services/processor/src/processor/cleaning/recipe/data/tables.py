"""Tables of names. Those of months and countries are from Unicode's CLDR and ISO 3166, the plans of telephone numbers
from Google's libphonenumber; NOTICE.md has their licences."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec


class Telephones(msgspec.Struct, frozen=True):
    code: str  # 49
    trunk: str  # what is dialled before a national number, 0
    lengths: Sequence[int]  # how many digits may follow the code


class Country(msgspec.Struct, frozen=True):
    alpha3: str
    numeric: str
    names: Mapping[str, Sequence[str]]  # by language, the usual one first
    phone: Telephones | None


@cache
def months() -> Mapping[str, Mapping[str, int]]:
    """By language: their names, long and short, in small letters and without a dot."""
    return msgspec.convert(_read("months.json"), dict[str, dict[str, int]])


@cache
def countries() -> Mapping[str, Country]:
    return msgspec.convert(_read("countries.json"), dict[str, Country])


def _read(name: str) -> Any:
    return json.loads((files(__package__) / name).read_text("utf-8"))
