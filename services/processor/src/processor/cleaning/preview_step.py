"""`csv-preview`: what a recipe makes of some records."""

from typing import Any

from processor.cleaning.previewing import BEGINNING, preview
from processor.cleaning.reading.options import options_from
from processor.cleaning.room import room_of
from processor.cleaning.whole.tables import open_tables
from processor.cleaning.wrong_recipes import recipe_from
from processor.inputs.opening import open_first
from processor.step import Report, Task

ROWS = 100
_OPENING = 0.5  # of the whole, if there is something to be opened


def preview_step(task: Task, report: Report) -> dict[str, Any]:
    recipe, reading = recipe_from(task.options.get("recipe")), options_from(task.options.get("reading", {}))
    given, after = open_first(task, report, _OPENING)
    tables = open_tables([*task.options.get("tables", {})], task, task.inputs, lambda: after(0.0, BEGINNING))
    shown = preview(
        given.path,
        recipe,
        reading,
        task.options.get("rows", ROWS),
        room_of(task),
        after,
        tables,
        spread=task.options.get("spread", False),
    )
    return {**shown, "input": given.described()}
