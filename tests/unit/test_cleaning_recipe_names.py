"""Telephone numbers, e-mail addresses, countries and units: what people write, and what becomes of it."""

from collections.abc import Iterator, Mapping
from typing import Any

import duckdb
import pytest

from fixtures.recipes import outcome
from processor.cleaning.recipe.data.tables import countries, months

EMAIL = {"rule": "email"}
PHONE = {"rule": "phone", "country": "DE"}
IN_AMERICA = {"rule": "phone", "country": "US"}
ANYWHERE = {"rule": "phone"}
COUNTRY = {"rule": "country"}
POUNDS = {"rule": "unit", "to": "kg"}
WARMTH = {"rule": "unit", "to": "°C", "plain": "°C", "decimal": ","}

READ: list[tuple[Mapping[str, Any], str, str | None]] = [
    (EMAIL, " Foo.Bar@Example.COM ", "Foo.Bar@example.com"),
    ({**EMAIL, "lower": "whole"}, "Foo.Bar@Example.COM", "foo.bar@example.com"),
    (EMAIL, "mailto:a+b@b.co.uk", "a+b@b.co.uk"),
    (EMAIL, "ü@münchen.de", "ü@münchen.de"),
    (EMAIL, "a@b", None),
    (EMAIL, "a..b@c.de", None),
    (EMAIL, ".a@c.de", None),
    (EMAIL, "a@-b.de", None),
    (EMAIL, "a b@c.de", None),
    (EMAIL, f"{'x' * 65}@a.de", None),
    (EMAIL, f"a@{'x' * 64}.de", None),
    (PHONE, "030 12345678", "+493012345678"),
    (PHONE, "+49 (0)30 1234-5678", "+493012345678"),
    (PHONE, "0049 30/12345678", "+493012345678"),
    (PHONE, "tel: 0171.1234567", "+491711234567"),
    (PHONE, "+1 650-253-0000", "+16502530000"),
    (PHONE, "+493012345678", "+493012345678"),
    (PHONE, "12", None),
    (PHONE, "+999 123456", None),
    (PHONE, "030 123456 ext 5", None),
    (PHONE, "+1 650-253", None),
    (IN_AMERICA, "(650) 253-0000", "+16502530000"),
    (IN_AMERICA, "1-650-253-0000", "+16502530000"),
    (IN_AMERICA, "011 49 30 12345678", "+493012345678"),
    (ANYWHERE, "030 12345678", None),
    (ANYWHERE, "+39 06 1234 5678", "+390612345678"),
    (COUNTRY, "Germany", "DE"),
    (COUNTRY, "ALLEMAGNE", "DE"),
    (COUNTRY, "cote d'ivoire", "CI"),
    (COUNTRY, "U.S.A.", "US"),
    (COUNTRY, "276", "DE"),
    (COUNTRY, "deu", "DE"),
    (COUNTRY, "Россия", "RU"),
    (COUNTRY, "日本", "JP"),
    (COUNTRY, "Osterreich", "AT"),
    (COUNTRY, "Atlantis", None),
    ({**COUNTRY, "to": "alpha3"}, "Österreich", "AUT"),
    ({**COUNTRY, "to": "numeric"}, "at", "040"),
    ({**COUNTRY, "to": "name", "language": "fr"}, "Österreich", "Autriche"),
    (POUNDS, "5 lb", "2.26796185"),
    (POUNDS, "1000g", "1.0"),
    (POUNDS, "-1.5 KG", "-1.5"),
    (POUNDS, "2 Tonnen", "2000.0"),
    (POUNDS, "3", None),
    (POUNDS, "5 m", None),
    (POUNDS, "kg", None),
    (WARMTH, "100 °F", "37.7777777777778"),
    (WARMTH, "20", "20.0"),
    (WARMTH, "21,5°C", "21.5"),
    (WARMTH, "300 K", "26.85"),
]


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection


@pytest.mark.parametrize(
    "rule", [EMAIL, PHONE, IN_AMERICA, ANYWHERE, COUNTRY, POUNDS, WARMTH], ids=lambda rule: rule["rule"]
)
def test_what_people_write_is_read_and_what_changes_is_logged(
    connection: duckdb.DuckDBPyConnection, rule: Mapping[str, Any]
) -> None:
    cases = [(text, becomes) for one, text, becomes in READ if one == rule]
    found = outcome(connection, ["a"], [{**rule, "columns": ["a"]}], [{"a": text} for text, _ in cases])
    for at, (text, becomes) in enumerate(cases):
        if becomes is None:
            assert found.rejects.get(at) == ("a", f"not_{rule['rule']}", 0), text
        else:
            assert found.rows[at] == {"a": becomes}
            is_same = becomes in (text, f"{text}.0")
            assert ((at, "a", text, becomes, 0) in found.changes) is not is_same
    assert len(found.changes) == sum(b is not None and b not in (text, f"{text}.0") for text, b in cases)


@pytest.mark.parametrize(
    ("rule", "text", "becomes"), [case for case in READ if len(case[0]) > 1 and "country" in case[0]["rule"]]
)
def test_countries_are_written_as_it_is_asked_for(
    connection: duckdb.DuckDBPyConnection, rule: Mapping[str, Any], text: str, becomes: str
) -> None:
    assert outcome(connection, ["a"], [{**rule, "columns": ["a"]}], [{"a": text}]).rows == {0: {"a": becomes}}


def test_every_country_is_found_by_all_of_its_names_and_codes(connection: duckdb.DuckDBPyConnection) -> None:
    cases = [
        (text, code)
        for code, country in countries().items()
        for text in (
            code,
            country.alpha3,
            country.numeric,
            *(name for names in country.names.values() for name in names),
        )
    ]
    found = outcome(connection, ["a"], [{"rule": "country", "columns": ["a"]}], [{"a": text} for text, _ in cases])
    assert not found.rejects
    assert [found.rows[at]["a"] for at in range(len(cases))] == [code for _, code in cases]
    assert len(countries()) == 249


def test_every_language_has_all_months() -> None:
    for language, names in months().items():
        assert set(names.values()) == set(range(1, 13)), language
