"""docs/events.md tells of every type, and shows what is so."""

import re
from pathlib import Path

import msgspec
import pytest

from events import steps
from events.accounts import FACTS
from events.broker.patterns import matcher
from events.catalog import CATALOG
from events.envelope import RecordedEvent, decode_recorded
from events.jobs import JobEvent
from events.vocabulary import IN_LOG, stream_category_of

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "events.md").read_text()


def rows(title: str) -> list[list[str]]:
    section = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    cells = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in row] for row in cells]


def test_every_type_is_shown_with_its_stream_and_all_that_it_says() -> None:
    shown = rows("Types")
    assert [row[0] for row in shown] == [f"`{name}`" for name in IN_LOG]
    assert IN_LOG.keys() | steps.SAID.keys() == CATALOG.keys()
    for name, stream, *says in shown:
        type_name = name.strip("`")
        payload = IN_LOG[type_name]
        common = set(JobEvent.model_fields) if issubclass(payload, JobEvent) else set()
        fields = re.findall(r"`(\w+)`", says[0]) if says else []
        assert set(fields) == payload.model_fields.keys() - common, type_name
        assert stream.startswith(f"`{stream_category_of(type_name)}:<")
    assert all(f"`{field}`" in PAGE for field in JobEvent.model_fields)


def test_all_vocabulary_is_in_the_catalog() -> None:
    """A new file of vocabulary that nobody imports would be missing from the documents."""
    files = {file.stem for file in (ROOT / "libs/events/src/events").glob("*.py") if "\n@event(" in file.read_text()}
    assert files == {payload.__module__.removeprefix("events.") for payload in CATALOG.values()}


def test_the_envelope_is_one() -> None:
    (shown,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    event = decode_recorded(shown.encode())
    IN_LOG[event.type].model_validate_json(bytes(event.data))
    told = {row[0].strip("`") for row in rows("The envelope")}
    own = {field.name for field in msgspec.structs.fields(RecordedEvent)}
    assert own - told == {"source", "time", "specversion", "datacontenttype"}


def test_the_page_says_which_types_only_operators_are_told() -> None:
    """Nothing said that the gateway's notes are left out for everybody else: a tenant's log was "everything"."""
    lines = PAGE.split("\n## Who is told what\n")[1].split("|---|---|---|\n")[1].split("\n\n")[0].splitlines()
    hidden = [line for line in lines if "`ops`" in line]
    told, told_to_operators = (set(re.findall(r"`(\w+)\.\*`", "".join(some))) for some in (lines, hidden))
    assert told == {name.partition(".")[0] for name in IN_LOG}
    assert told_to_operators == {name.partition(".")[0] for name in FACTS}
    assert IN_LOG.keys() - FACTS.keys() == {name for name in IN_LOG if name.partition(".")[0] not in told_to_operators}


@pytest.mark.parametrize("row", rows("Routing keys"), ids=lambda row: row[0])
def test_the_patterns_are_some(row: list[str]) -> None:
    is_meant = matcher(row[0].strip("`"))
    assert any(is_meant(f"default.{name}") for name in IN_LOG)


@pytest.mark.parametrize("link", re.findall(r"\]\((\.\./[^)#]+)", PAGE))
def test_what_it_links_to_is_there(link: str) -> None:
    assert (ROOT / "docs" / link).resolve().exists()
