"""The workflows that every tenant has."""

from collections.abc import Mapping
from types import MappingProxyType

from processor.language.definition import Definition, Step

CSV_PROFILE = Definition(
    name="csv-profile",
    title="Profile a CSV file",
    description="Counts rows, and for each column finds its type, its missing values and its distinct values.",
    inputs={"blob": {"type": "string"}, "options": {"type": "object", "default": {}}},
    steps={
        "csv-profile": Step(
            uses="csv-profile", with_={"blob": "${{ inputs.blob }}", "options": "${{ default(inputs.options, {}) }}"}
        )
    },
)

CSV_SUGGEST = Definition(
    name="csv-suggest",
    title="Propose a recipe for a CSV file",
    description="Proposes rules, each with its reason and how many cells it would change and rows it would reject.",
    inputs={"blob": {"type": "string"}, "options": {"type": "object", "default": {}}},
    steps={
        "csv-suggest": Step(
            uses="csv-suggest", with_={"blob": "${{ inputs.blob }}", "options": "${{ default(inputs.options, {}) }}"}
        )
    },
)
CSV_PREVIEW = Definition(
    name="csv-preview",
    title="Preview a recipe on a CSV file",
    description="Shows what a recipe makes of some records: each cell that changes, and why a row is rejected.",
    inputs={"blob": {"type": "string"}, "options": {"type": "object"}},
    steps={
        "csv-preview": Step(
            uses="csv-preview", with_={"blob": "${{ inputs.blob }}", "options": "${{ inputs.options }}"}
        )
    },
)

BUILT_IN: Mapping[str, Definition] = MappingProxyType(
    {workflow.name: workflow for workflow in (CSV_PROFILE, CSV_SUGGEST, CSV_PREVIEW)}
)
BUILT_IN_VERSION = 1
