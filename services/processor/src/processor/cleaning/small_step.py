"""A small file, cleaned while its sender waits: the answer is a file, ready to be sent."""

import zipfile
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from processor.cleaning.clean import clean_file
from processor.cleaning.options import CleanOptions, clean_options
from processor.cleaning.room import room_of
from processor.cleaning.small_answer import write_answer
from processor.cleaning.small_views import SmallWish
from processor.inputs.opening import open_input
from processor.language.problems import Problem
from processor.step import Report, StepError, Task


def csv_clean_small(task: Task, report: Report) -> dict[str, Any]:
    """Leaves the file that is wanted among its outputs, and gives what headers may say of it."""
    wish = msgspec.convert(task.options, SmallWish)
    options = _options(wish)
    given = open_input(task, report)
    folder, room = Path(task.scratch, "files"), room_of(task)
    folder.mkdir()
    result = clean_file(given, options, folder, room, report, {})
    answer = Path(task.outputs, wish.answer)
    match answer.suffix:
        case ".json":
            with room.connect() as connection:
                write_answer(connection, given.path, folder, options.recipe.output, result, wish.listed, answer)
        case ".zip":
            _zip(folder, answer)
        case _:
            Path(folder, answer.name).rename(answer)
    return {"rows": result["rows"], "changed_cells": result["changed_cells"]}


def _options(wish: SmallWish) -> CleanOptions:
    options = clean_options(wish.clean)
    if options.tables:
        detail = "Other files can be looked up in by jobs only: upload them, and start the workflow csv-clean."
        raise StepError("invalid_option", detail, [Problem("tables", "invalid_option", detail)])
    kind = Path(wish.answer).suffix.removeprefix(".")
    if kind not in ("csv", "jsonl"):
        return options
    output = options.recipe.output
    return replace(options, recipe=replace(options.recipe, output=replace(output, format=kind)))


def _zip(folder: Path, path: Path) -> None:
    with zipfile.ZipFile(path, "x", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in sorted(folder.iterdir()):
            packed = file.suffix == ".parquet"
            archive.write(file, file.name, zipfile.ZIP_STORED if packed else None)
