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

BUILT_IN: Mapping[str, Definition] = MappingProxyType({workflow.name: workflow for workflow in (CSV_PROFILE,)})
BUILT_IN_VERSION = 1
