"""The workflows that every tenant has."""

from collections.abc import Mapping
from types import MappingProxyType

from processor.language.definition import Definition, Map, Step

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

_RECIPE = "${{ steps.survey.output.recipe }}"
_SOURCE = "default(steps.survey.output.source, inputs.blob)"

CSV_CLEAN = Definition(
    name="csv-clean",
    title="Clean a CSV file",
    description="Does what a recipe says, keeps each row that it refuses, and logs each cell that it changes.",
    inputs={
        "blob": {"type": "string"},
        "filename": {"type": ["string", "null"], "default": None},
        "options": {"type": "object", "default": {}},
    },
    steps={
        "survey": Step(
            uses="csv-survey",
            with_={
                "blob": "${{ inputs.blob }}",
                "blobs": "${{ values(default(inputs.options.tables, {})) }}",
                "options": "${{ default(inputs.options, {}) }}",
            },
        ),
        "parts": Step(
            uses="csv-part",
            depends=("survey",),
            map=Map(items="${{ steps.survey.output.parts }}"),
            with_={
                "blob": f"${{{{ {_SOURCE} }}}}",
                "range": "${{ item.range }}",
                "options": {
                    "layout": "${{ steps.survey.output.layout }}",
                    "recipe": _RECIPE,
                    "tables": "${{ steps.survey.output.tables }}",
                    "chunks": "${{ item.chunks }}",
                },
            },
            weight=8.0,
        ),
        "whole": Step(
            uses="csv-whole",
            depends=("parts",),
            with_={
                "blob": f"${{{{ {_SOURCE} if steps.survey.output.needs_source else null }}}}",
                "blobs": "${{ [steps.survey.output.survey]"
                ' + flatten(pluck(steps.parts.output, "files")) + values(default(inputs.options.tables, {})) }}',
                "options": {
                    "recipe": _RECIPE,
                    "tables": "${{ keys(default(inputs.options.tables, {})) }}",
                    "parts": '${{ pluck(steps.parts.output, "files") }}',
                    "filename": "${{ default(inputs.filename, null) }}",
                },
            },
        ),
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
    {workflow.name: workflow for workflow in (CSV_PROFILE, CSV_PREVIEW, CSV_CLEAN)}
)
BUILT_IN_VERSION = 1
