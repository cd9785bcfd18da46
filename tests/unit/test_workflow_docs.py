"""The example of docs/workflows.md is a workflow that could be published."""

import re
from pathlib import Path

from processor.language.document import read
from processor.language.functions import FUNCTIONS
from processor.language.validation import validate

PAGE = (Path(__file__).parents[2] / "docs" / "workflows.md").read_text()


def test_the_example_has_no_problem() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    document = read(example.encode(), "yaml")
    others = {"other": {"of": {"type": "string"}}}
    assert validate(document, workflows=lambda name, version: others.get(name)).problems == ()


def test_every_function_is_named() -> None:
    (named,) = re.findall(r"functions `([a-z_\s]+)`", PAGE)
    assert set(named.split()) == {*FUNCTIONS, "default"}
