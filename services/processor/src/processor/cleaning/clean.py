"""A file, cleaned in one go: what the steps of `csv-clean` do apart."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from processor.cleaning.ending import Given, end_clean
from processor.cleaning.options import CleanOptions, plan_for
from processor.cleaning.parts.group import clean_group
from processor.cleaning.progress import Progress, Shares
from processor.cleaning.room import Room
from processor.cleaning.survey import opened, survey
from processor.cleaning.whole.tables import columns_of, look_at
from processor.inputs.opening import Input
from processor.step import Report

_SHARES = Shares(0.1, 0.9)


def clean_file(
    given: Input, options: CleanOptions, folder: Path, room: Room, report: Report, tables: Mapping[str, Path]
) -> dict[str, Any]:
    """Leaves in the folder the files that `files.py` names, and gives a step's result."""
    progress = Progress(report, given.bytes, _SHARES)
    found = survey(given.path, options.reading, progress.looking_through)
    others = look_at(tables, room, progress.look)
    plan = plan_for(options.recipe, found.layout.names, columns_of(others))
    part = Path(room.scratch, "part")
    part.mkdir()
    with opened(given.path) as fd:
        counts = clean_group(fd, found.layout, found.chunks, plan, part, room, progress)
    parts = {file.name: [file] for file in part.iterdir()}
    whole = Given(given.path, given.described(), None, found, others)
    return end_clean(whole, plan, [counts], parts, folder, room, progress)
