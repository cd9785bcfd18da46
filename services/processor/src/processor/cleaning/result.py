"""What a clean tells of itself."""

from typing import Any

import msgspec

from processor.cleaning.recipe.compiling import Plan
from processor.cleaning.survey import Survey
from processor.cleaning.whole.finishing import Cleaned


def result_of(survey: Survey, plan: Plan, done: Cleaned) -> dict[str, Any]:
    decisions: dict[str, Any] = msgspec.to_builtins(survey.decisions)
    recipe: dict[str, Any] = msgspec.to_builtins(plan.recipe)
    notes = [*survey.decisions.notes]
    if not done.rows.in_:
        notes.append("The table has no rows.")
    return {**msgspec.to_builtins(done), "decisions": decisions, "recipe": recipe, "notes": notes}
