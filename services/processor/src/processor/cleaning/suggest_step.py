"""`csv-suggest`: a recipe for a file, each rule with its reason and what it would do."""

from typing import Any

from processor.cleaning.options import SuggestOptions, reading_from
from processor.cleaning.reading.options import structured
from processor.cleaning.room import room_of
from processor.cleaning.suggesting.suggestion import Wish, suggest
from processor.inputs.opening import open_first
from processor.step import Report, Task

_OPENING = 0.2  # of the whole, if there is something to be opened


def suggest_step(task: Task, report: Report) -> dict[str, Any]:
    options = structured(task.options, SuggestOptions)
    reading, wish = reading_from(options.reading), Wish(options.most_rejects, options.sample)
    given, after = open_first(task, report, _OPENING)
    suggested = suggest(given.path, reading, wish, room_of(task), after)
    return {**suggested, "input": given.described()}
