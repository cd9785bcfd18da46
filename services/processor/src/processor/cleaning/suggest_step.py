"""`csv-suggest`: a recipe for a file, each rule with its reason and what it would do."""

from typing import Any

from processor.cleaning.reading.options import options_from
from processor.cleaning.room import room_of
from processor.cleaning.suggesting.suggestion import Wish, suggest
from processor.inputs.opening import open_first
from processor.step import Report, Task

_OPENING = 0.2  # of the whole, if there is something to be opened


def suggest_step(task: Task, report: Report) -> dict[str, Any]:
    reading = options_from(task.options.get("reading", {}))
    asked = {name: task.options[name] for name in ("most_rejects", "sample") if name in task.options}
    given, after = open_first(task, report, _OPENING)
    suggested = suggest(given.path, reading, Wish(**asked), room_of(task), after)
    return {**suggested, "input": given.described()}
