"""What a workflow is, and the ones that are built in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

_NO_OPTIONS: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {},
}


@dataclass(frozen=True, slots=True)
class Workflow:
    """Immutable: a change is another version."""

    name: str
    version: int
    title: str
    description: str
    steps: tuple[str, ...]  # names in the table of `processor.steps`, in their order
    options_schema: dict[str, Any] = field(default_factory=lambda: _NO_OPTIONS)


CSV_PROFILE = Workflow(
    name="csv-profile",
    version=1,
    title="Profile a CSV file",
    description="Counts rows, and for each column finds its type, its missing values and its distinct values.",
    steps=("csv-profile",),
)

WORKFLOWS: Mapping[str, Workflow] = MappingProxyType({workflow.name: workflow for workflow in (CSV_PROFILE,)})
