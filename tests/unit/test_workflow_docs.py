"""The example of docs/workflows.md is a workflow that could be published, and its tables tell all."""

import re
from pathlib import Path

from processor.handlers import HANDLERS
from processor.language import durations
from processor.language.definition import Retry
from processor.language.document import read
from processor.language.expressions import Template
from processor.language.functions import FUNCTIONS
from processor.language.validation import validate

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "workflows.md").read_text()


def test_the_example_has_no_problem() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (other,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    document, inner = read(example.encode(), "yaml"), read(other.encode(), "json")
    assert validate(inner).problems == ()
    others = {inner["name"]: inner["inputs"]}
    assert validate(document, workflows=lambda name, version: others.get(name)).problems == ()


def rows(title: str) -> list[str]:
    """The first cells of a section's table."""
    return re.findall(r"^\| (`.*?) \|", PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0], re.MULTILINE)


def test_every_function_is_shown_with_its_signature() -> None:
    assert rows("Functions") == [f"`{function.signature}`" for function in FUNCTIONS.values()]


def test_every_handler_is_shown_with_its_parameters() -> None:
    table = PAGE.split("\n## Handlers\n")[1].split("\n## ")[0]
    assert set(rows("Handlers")) == {f"`{name}`" for name in HANDLERS} | {"`remote/<queue>`"}
    for name, handler in HANDLERS.items():
        (row,) = (line for line in table.splitlines() if line.startswith(f"| `{name}`"))
        assert all(f"`{parameter}`" in row for parameter in handler.parameters.get("properties", {}))


def test_every_code_that_a_step_can_end_with_is_explained() -> None:
    source = "".join(file.read_text() for file in (ROOT / "services/processor/src/processor").rglob("*.py"))
    named = r'(?:StepError|GiveUp|[Ff]ailed)\([^"\[()]*"([a-z_]+)"|"?\bcode"?(?:, detail)?(?:=|: | = )"([a-z_]+)"'
    codes = {"".join(found) for found in re.findall(named, source)}
    assert {"worker_lost", "blob_missing", "step_timeout", "rejected", "quota_exceeded"} <= codes
    explained = {code for cell in rows("Errors") for code in re.findall(r"`(\w+)`", cell)}
    assert codes - explained == set()


def test_the_defaults_of_retries_are_what_they_are() -> None:
    shown = dict(re.findall(r"^\| `(\w+)` \| (\S+) \|", PAGE.split("| `retry` |")[1].split("\n\n")[0], re.MULTILINE))
    assert set(shown) == set(Retry.__struct_fields__)
    assert shown.pop("on") == "all"
    for name, value in shown.items():
        assert getattr(Retry(), name) == (durations.seconds(value) if value[-1] in "sm" else float(value))


def test_an_opening_is_written_as_the_page_shows() -> None:
    (written, gives) = re.search(r'`"(\S.*\}\})"` gives `(.*?)`', PAGE).groups()  # type: ignore[union-attr]
    assert Template.parse(written).evaluate({}) == gives


def test_the_example_of_remote_steps_survives_the_death_of_its_worker() -> None:
    page = (ROOT / "deploy" / "examples" / "remote-workers.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    verdict = validate(read(example.encode(), "yaml"))
    assert verdict.problems == ()
    assert verdict.definition is not None
    retry = verdict.definition.steps["count"].retry
    assert retry is not None
    assert "worker_lost" in retry.on
