"""A suggestion as a step's result."""

from collections.abc import Sequence
from typing import Any

import msgspec

from processor.cleaning.reading.decisions import counted
from processor.cleaning.recipe.rules.dependencies import Dependency
from processor.cleaning.recipe.rules.outliers import Outliers
from processor.cleaning.suggesting.proposal import Proposal, Question, recipe_with
from processor.cleaning.suggesting.rows import Rows
from processor.cleaning.suggesting.trial import Counts
from processor.cleaning.survey import Survey

_MOST_FINDINGS = 0.01  # share of the rows: what is found more often is no exception
_LONGEST_WHY = 2_000


def told(
    survey: Survey,
    rows: Rows,
    proposals: Sequence[Proposal],
    done: Counts,
    questions: Sequence[Question],
    notes: Sequence[str],
) -> dict[str, Any]:
    kept = [at for at, one in enumerate(proposals) if _is_kept(one, done.findings[at], rows.count)]
    rules = [_touched(proposals[at], at, done) for at in kept]
    whys = [f"{proposals[at].why} {_counts(rule)}"[:_LONGEST_WHY] for at, rule in zip(kept, rules, strict=True)]
    recipe = recipe_with(
        msgspec.structs.replace(proposals[at].rule, why=why) for at, why in zip(kept, whys, strict=True)
    )
    misfits = sum(rows.misfits.values())
    return {
        "recipe": msgspec.to_builtins(recipe),
        "rules": [{"rule": at, **rule, "why": why} for at, (rule, why) in enumerate(zip(rules, whys, strict=True))],
        "rows": {
            "in": survey.rows,
            "out": done.rows,
            "rejected": misfits + done.reasons.total(),
            "duplicates": done.duplicates.total(),
        },
        "rejects": {**rows.misfits, **done.reasons},
        "changed_cells": done.cells.total(),
        "questions": msgspec.to_builtins(questions),
        "decisions": msgspec.to_builtins(survey.decisions),
        "notes": [*survey.decisions.notes, *dict.fromkeys(notes)],
    }


def _is_kept(proposal: Proposal, findings: int, rows: int) -> bool:
    """Findings change nothing: without those rules, all else is the same."""
    return not isinstance(proposal.rule, Outliers | Dependency) or 0 < findings <= _MOST_FINDINGS * rows


def _touched(proposal: Proposal, at: int, done: Counts) -> dict[str, Any]:
    columns = {column: count for (rule, column), count in sorted(done.cells.items(), key=str) if rule == at}
    return {
        "name": proposal.rule.__struct_config__.tag,
        "cells": sum(columns.values()),
        "by_column": columns,
        "rejects": sum(count for (rule, _), count in done.rejects.items() if rule == at),
        "duplicates": done.duplicates[at],
        "findings": done.findings[at],
    }


def _counts(rule: dict[str, Any]) -> str:
    """Of the file that it was suggested for: the recipe may be done to others."""
    parts = [
        *([f"changes {counted(rule['cells'], 'cell')}"] if rule["cells"] else []),
        *([f"rejects {counted(rule['rejects'], 'row')}"] if rule["rejects"] else []),
        *([f"takes out {counted(rule['duplicates'], 'duplicate')}"] if rule["duplicates"] else []),
        *([f"finds {counted(rule['findings'], 'cell')}"] if rule["findings"] else []),
    ]
    if not parts:
        return "In this file it changes nothing."
    return f"In this file it {' and '.join((', '.join(parts[:-1]), parts[-1]) if parts[:-1] else parts)}."
