"""The steps of `csv-clean`: a survey, its parts side by side, and the whole."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from processor.cleaning.ending import Given, end_clean
from processor.cleaning.layout import Layout
from processor.cleaning.options import clean_options, plan_for
from processor.cleaning.parts.counts import PartCounts
from processor.cleaning.parts.group import clean_group
from processor.cleaning.progress import Progress, Shares
from processor.cleaning.reading.chunks import Chunk
from processor.cleaning.reading.chunks_content import needed_bytes
from processor.cleaning.recipe.document import Recipe
from processor.cleaning.room import room_of
from processor.cleaning.survey import Survey, opened, survey
from processor.cleaning.whole.tables import Found, Other, columns_of, look_at, open_tables
from processor.inputs.opening import Input, open_first
from processor.step import Report, Task

_MOST_PARTS = 500  # a larger file has larger ones
_SURVEYED, _COUNTS, _SOURCE = "survey.json", "counts.json", "source"
_OPENING = 0.5  # of the survey, if there is something to be opened


class Surveyed(msgspec.Struct, frozen=True):
    """What the whole has to know again."""

    survey: Survey
    input: dict[str, Any]
    tables: dict[str, Found]


class PartOptions(msgspec.Struct, frozen=True):
    layout: Layout
    recipe: Recipe
    tables: dict[str, tuple[str, ...]]
    chunks: tuple[Chunk, ...]


class WholeOptions(msgspec.Struct, frozen=True):
    recipe: Recipe
    tables: tuple[str, ...]
    parts: tuple[tuple[str, ...], ...]  # the keys of what each has left
    filename: str | None = None


def csv_survey(task: Task, report: Report) -> dict[str, Any]:
    options = clean_options(task.options)
    given, after = open_first(task, report, _OPENING)
    progress = Progress(after, given.bytes, Shares(1, 1))
    found = survey(given.path, options.reading, progress.looking_through)
    paths = open_tables([*options.tables], task, task.inputs, progress.look)
    others = look_at(paths, room_of(task), progress.look)
    tables = columns_of(others)
    plan = plan_for(options.recipe, found.layout.names, tables)
    staged = _staged(task)
    surveyed = Surveyed(found, given.described(), {name: other.found for name, other in others.items()})
    (staged / _SURVEYED).write_bytes(msgspec.json.encode(surveyed))
    return {
        "survey": f"{task.output_key}/{_SURVEYED}",
        "source": _kept(given, staged, task.output_key),
        "needs_source": bool(plan.stages),
        "recipe": msgspec.to_builtins(options.recipe),
        "layout": msgspec.to_builtins(found.layout),
        "tables": tables,
        "parts": list(_parts(found)),
    }


def csv_part(task: Task, report: Report) -> dict[str, Any]:
    options = msgspec.convert(task.options, PartOptions)
    plan = plan_for(options.recipe, options.layout.names, options.tables)
    staged, room = _staged(task), room_of(task)
    progress = Progress(report, sum(chunk.end - chunk.start for chunk in options.chunks), Shares(0, 1))
    with opened(Path(task.input)) as fd:
        counts = clean_group(fd, options.layout, options.chunks, plan, staged, room, progress, task.input_offset)
    (staged / _COUNTS).write_bytes(msgspec.json.encode(counts))
    return {
        "rows": counts.rows_in,
        "rejected": sum(counts.rejected.values()),
        "files": sorted(f"{task.output_key}/{path.name}" for path in staged.iterdir()),
    }


def csv_whole(task: Task, report: Report) -> dict[str, Any]:
    options = msgspec.convert(task.options, WholeOptions)
    keys = [key for part in options.parts for key in part]
    paths = [Path(path) for path in task.inputs]
    surveyed = msgspec.json.decode(paths[0].read_bytes(), type=Surveyed)
    of_parts, of_tables = paths[1 : 1 + len(keys)], task.inputs[1 + len(keys) :]
    progress = Progress(report, 1, Shares(0, 0))
    parts: dict[str, list[Path]] = {}
    for key, path in zip(keys, of_parts, strict=True):
        parts.setdefault(key.rpartition("/")[2], []).append(path)
    counts = [msgspec.json.decode(path.read_bytes(), type=PartCounts) for path in parts.pop(_COUNTS, [])]
    plan = plan_for(
        options.recipe,
        surveyed.survey.layout.names,
        {name: found.layout.names for name, found in surveyed.tables.items()},
    )
    tables: dict[str, Other] = {}
    if plan.stages:
        opened_tables = open_tables(options.tables, task, of_tables, progress.look)
        tables = {name: Other(path, surveyed.tables[name]) for name, path in opened_tables.items()}
    artifacts = Path(task.outputs, "artifacts")
    artifacts.mkdir()
    given = Given(Path(task.input), surveyed.input, options.filename, surveyed.survey, tables)
    return end_clean(given, plan, counts, parts, artifacts, room_of(task), progress)


def _staged(task: Task) -> Path:
    staged = Path(task.outputs, "staged")
    staged.mkdir()
    return staged


def _kept(given: Input, staged: Path, key: str) -> str | None:
    """What was decompressed is kept for the parts; None if the blob is the file."""
    if not given.compression:
        return None
    shutil.move(given.path, staged / _SOURCE)
    return f"{key}/{_SOURCE}"


def _parts(found: Survey) -> Iterator[dict[str, Any]]:
    chunks, table, grammar = found.chunks, found.layout.table, found.layout.grammar
    each = -(-len(chunks) // _MOST_PARTS) or 1
    for at in range(0, len(chunks), each):
        own = chunks[at : at + each]
        start, end = own[0].start, needed_bytes(own[-1], table, grammar)[1]
        yield {"range": [start, end], "chunks": [msgspec.to_builtins(chunk) for chunk in own]}
