"""The end of a clean: the files of the whole, the report, and what is told of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from processor.cleaning.parts.counts import PartCounts
from processor.cleaning.progress import Progress
from processor.cleaning.recipe.compiling import Plan
from processor.cleaning.report.facts import Clean
from processor.cleaning.report.making import make_report
from processor.cleaning.room import Room
from processor.cleaning.survey import Survey
from processor.cleaning.whole.finishing import finish
from processor.cleaning.whole.stages import Parts
from processor.cleaning.whole.tables import Other


@dataclass(frozen=True, slots=True)
class Given:
    """What was to be cleaned."""

    path: Path  # of the file, decompressed
    input: Mapping[str, Any]  # how it was compressed
    filename: str | None
    survey: Survey
    tables: Mapping[str, Other]


def end_clean(
    given: Given, plan: Plan, counts: Sequence[PartCounts], parts: Parts, folder: Path, room: Room, progress: Progress
) -> dict[str, Any]:
    """Leaves all files in the folder, and gives a step's result."""
    survey = given.survey
    progress.finishing()
    done, said = finish(given.path, survey, plan, counts, parts, folder, room, progress, given.tables)
    result = {
        **msgspec.to_builtins(done),
        "decisions": msgspec.to_builtins(survey.decisions),
        "recipe": msgspec.to_builtins(plan.recipe),
        "input": given.input,
        "notes": [*survey.decisions.notes, *([] if done.rows.in_ else ["The table has no rows."]), *said],
    }
    clean = Clean(folder, result, plan.recipe, survey.decisions, survey.sample, given.filename)
    make_report(clean, room, progress.reporting)
    return result
