"""Secrets of every kind are used, and sent wherever a client could put one by mistake: none is ever told to anybody.

What was told is everything that a Millrace leaves behind: logs at DEBUG, the console, spans, metrics, events, each
table, and each file on the disk. What a client stores on purpose is stored (a filename, a key's name, a person's name,
a workflow's options), so no secret is planted there. What has no form can't be told from an id: a password of
letters and digits only would be logged as a segment of a path or as X-Request-ID, so the planted ones have a space and
an exclamation mark, which neither may have.
"""

import base64
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote

import pytest
import pytest_asyncio

from fixtures.fuzz import UNLIMITED
from fixtures.millrace import documented, running
from fixtures.planting import EMAIL, Life, lived, plant_everywhere
from fixtures.told import collecting, ended, files_of, metrics_of_all, readable, shapes, tables_of_all

SENT_EVERYWHERE = (
    "the admin key",
    "an API key",
    "an access token",
    "a refresh token",
    "a password",
    "an unused ticket",
    "an invitation",
)
USED = (
    "a rotated API key",
    "a logged-out access token",
    "a used refresh token",
    "a first refresh token",
    "a wrong password",
    "a guest's password",
    "a used ticket",
    "a stream's ticket",
    "a stream's cookie",
    "a used invitation",
)


ANY_CONNECTS = {"MILLRACE_LIMITS_CONNECTS": json.dumps({"ws": {"seconds": 10, "free": 1000, "most": 1000}})}


@dataclass(frozen=True, slots=True)
class Told:
    life: Life
    places: Mapping[str, str]  # name → text
    requests: int

    def where(self, text: str) -> list[str]:
        return [name for name, found in self.places.items() if any(shape in found for shape in shapes(text))]


# Each operation gets some kinds of secrets, and each kind is in every place of some operations' requests. `make chaos`
# sends all kinds everywhere.
TURNS = [3, pytest.param(1, marks=pytest.mark.thorough)]


@pytest_asyncio.fixture(scope="module", params=TURNS, ids="one of {}".format)
async def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Told]:
    folder = tmp_path_factory.mktemp("millrace")
    with (folder / "console").open("w+b") as console:
        async with collecting() as collector:
            settings = {
                **UNLIMITED,
                **ANY_CONNECTS,
                **collector.settings,
                "MILLRACE_LOG_LEVEL": "DEBUG",
                "MILLRACE_AUTHZ_ENABLED": "1",
            }
            async with running(folder / "data", settings, console) as millrace:
                document, life = await documented(millrace), await lived(millrace)
                requests = 0
                for turn, kind in enumerate(SENT_EVERYWHERE):
                    requests += await plant_everywhere(
                        millrace, document, life.secrets[kind], turn=turn, turns=request.param
                    )
                places = {f"table {name}": rows for name, rows in (await tables_of_all(millrace)).items()}
                places["metrics"] = await metrics_of_all(millrace)
                places["stdout"] = await ended(millrace)
        console.seek(0)
        places["stderr"] = console.read().decode()
    places["spans"] = "\n".join(collector.spans)
    files = {f"file {name}": text for name, text in files_of(folder / "data").items()}
    logs = {name: readable(files.pop(name)) for name in list(files) if ".log" in name}
    yield Told(life, {name: readable(text) for name, text in places.items()} | logs | files, requests)


@pytest.mark.parametrize("kind", [*SENT_EVERYWHERE, *USED])
def test_a_secret_is_nowhere_in_clear(told: Told, kind: str) -> None:
    assert told.where(told.life.secrets[kind]) == []


@pytest.mark.parametrize("name", ["ticket", "access_token", "key"])
def test_of_a_query_not_even_the_names_are_told(told: Told, name: str) -> None:
    assert [place for place in ("file logs/millrace.log", "spans") if f"{name}=" in told.places[place]] == []


def test_every_kind_is_looked_for(told: Told) -> None:
    assert set(told.life.secrets) == {*SENT_EVERYWHERE, *USED}
    assert told.requests > 1000


@pytest.mark.parametrize(
    ("public", "places"),
    {
        "job": {"stderr", "file logs/millrace.log", "table events.events", "table ingest.uploads"},
        "key": {"table gateway.keys", "table events.events"},
        "user": {"table gateway.users", "table events.events"},
        "workflow": {"spans", "table ingest.uploads"},
        "route": {"spans", "metrics"},
    }.items(),
)
def test_what_is_public_is_found_where_it_is_told(told: Told, public: str, places: set[str]) -> None:
    """By the same search: it can find what is there."""
    assert places <= set(told.where(told.life.public[public]))


def test_an_address_is_kept_with_its_person_and_told_to_nobody(told: Told) -> None:
    where = {place for place in told.where(EMAIL) if not place.startswith("file postgres/data/")}
    assert where == {"table gateway.users"}


def test_every_service_was_listened_to(told: Told) -> None:
    for service in ("ingest", "processor", "notifier", "gateway"):
        assert f"millrace-{service}" in told.places["spans"]
        assert f'"logger": "{service}"' in told.places["file logs/millrace.log"]
    assert '"level": "debug"' in told.places["stderr"]
    assert "has stopped" in told.places["stdout"]
    assert told.places["file postgres/postgres.log"].strip()
    assert any(place.startswith("file postgres/data/") for place in told.where(told.life.public["key"]))


@pytest.mark.parametrize("secret", ["mr_live_abcdefghijkl_0123456789", "a planted password!"])
def test_the_search_sees_through_what_hides_a_secret(secret: str) -> None:
    for text in (
        f'{{"path": "/jobs/{secret}"}}',
        f"GET /jobs/{quote(secret)}?x",
        "".join(f"%{byte:02X}" for byte in secret.encode()),
        *(base64.b64encode(f"{before}{secret} and more".encode()).decode() for before in ("", "a", "ab", "abc")),
        base64.urlsafe_b64encode(f"?{secret}".encode()).decode(),
        secret.encode().hex(),
    ):
        assert any(shape in readable(text) for shape in shapes(secret)), text
    assert not any(shape in "a public text" for shape in shapes(secret))
