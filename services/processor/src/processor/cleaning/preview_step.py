"""`csv-preview`: what a recipe makes of some records."""

from typing import Any

from processor.cleaning.options import PreviewOptions, reading_from
from processor.cleaning.previewing import BEGINNING, preview
from processor.cleaning.reading.options import structured
from processor.cleaning.room import room_of
from processor.cleaning.whole.tables import open_tables
from processor.cleaning.wrong_recipes import recipe_from
from processor.inputs.opening import open_first
from processor.step import Report, Task

_OPENING = 0.5  # of the whole, if there is something to be opened


def preview_step(task: Task, report: Report) -> dict[str, Any]:
    options = structured(task.options, PreviewOptions)
    recipe, reading = recipe_from(options.recipe), reading_from(options.reading)
    given, after = open_first(task, report, _OPENING)
    tables = open_tables([*options.tables], task, task.inputs, lambda: after(0.0, BEGINNING))
    shown = preview(given.path, recipe, reading, options.rows, room_of(task), after, tables, spread=options.spread)
    return {**shown, "input": given.described()}
