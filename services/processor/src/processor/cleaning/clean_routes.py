"""`POST /clean`: a small file, cleaned while its sender waits."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from fastapi import Depends, Query, Request, Response

from events.body.body import Body
from events.body.fields import checked_options, invalid
from events.body.wrapping import refuse_codings
from events.errors import BadRequest, InvalidInput, NotAcceptable, RequestTimeout, TooLarge, UnsupportedMedia
from events.identity import Principal
from events.web.accepting import chosen
from events.web.answers import no_unknown_parameters
from events.web.file_answers import FileAnswer
from events.web.openapi import DescribedRoutes, answers, problems
from events.web.web import require
from processor.cleaning.small_example import ANSWER, FILE, OPTIONS
from processor.cleaning.small_views import ANSWERS, STEP, SmallAnswer, SmallWish
from processor.scratch import folder_for
from processor.settings import ProcessorSettings
from processor.step import Task
from processor.step_calls import Busy, CallCrashed, Refused, StepCalls, TookTooLong

JobWriter = Annotated[Principal, require("jobs:write")]

_OPTIONS_BYTES = 1 << 20  # of the part of a multipart body; in a query there is less room
_OPTIONS_SCHEMA = {"type": "object", "description": "`entry`, `reading` and `recipe`, as of the workflow csv-clean."}
_FILE_SCHEMA = {"type": "string", "format": "binary", "minLength": 1}
_BODY: dict[str, Any] = {
    "parameters": [
        {
            "name": "options",
            "in": "query",
            "description": "What shall be done, if the body is the file itself.",
            "content": {"application/json": {"schema": _OPTIONS_SCHEMA, "example": OPTIONS}},
        }
    ],
    "requestBody": {
        "required": True,
        "description": "The file, of any content type; or a form with the parts `file` and `options`.",
        "content": {
            "application/octet-stream": {"schema": _FILE_SCHEMA, "example": FILE.decode()},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": _FILE_SCHEMA, "options": _OPTIONS_SCHEMA},
                    "additionalProperties": False,
                }
            },
        },
    },
}
_INSTEAD = "Upload the file, and start a job."
_BINARY = {"schema": {"type": "string", "format": "binary"}}


def _responses() -> dict[int | str, dict[str, Any]]:
    told = answers(SmallAnswer, ANSWER, description="Cleaned")
    told[200]["content"] |= {kind: _BINARY for kind in ANSWERS if kind != "application/json"}
    return told | problems(
        BadRequest,
        Busy,
        CallCrashed,
        InvalidInput,
        NotAcceptable,
        Refused,
        RequestTimeout,
        TookTooLong,
        TooLarge,
        UnsupportedMedia,
    )


def router(calls: StepCalls, settings: ProcessorSettings, scratch: Path) -> DescribedRoutes:
    routes = DescribedRoutes(prefix="/api/v1", tags=["cleaning"], dependencies=[Depends(no_unknown_parameters)])

    @routes.post("/clean", summary="Clean a small file in one call", responses=_responses(), openapi_extra=_BODY)
    async def clean(
        request: Request,
        principal: JobWriter,
        options: Annotated[str, Query(max_length=16_384, include_in_schema=False)] = "",
        listed: Annotated[int, Query(ge=0, le=10_000)] = 1000,
    ) -> Response:
        """Send the file as the raw body, with `?options=`, or as a form. The answer is JSON with the cleaned rows, the
        first rejects, duplicates, changes and findings (`listed` of each at most) and the report; or the cleaned rows
        alone, as CSV, JSON Lines or Parquet; or all files as a zip: what `Accept` says. Nothing is kept."""
        media_type = chosen(request.headers.get("Accept"), tuple(ANSWERS))
        refuse_codings(request)
        most = settings.clean_bytes
        body = Body(
            request,
            settings,
            most,
            f"A file that is cleaned in one call may have at most {most} bytes. {_INSTEAD}",
            {"options": _OPTIONS_BYTES},
        )
        with folder_for(scratch, "clean") as folder:
            task = _task(settings, folder)
            await _store(body, Path(task.input))
            given, place = await _options(options, body)
            wish = SmallWish(given, ANSWERS[media_type], listed, given.get("entry"))
            task = msgspec.structs.replace(task, options=msgspec.to_builtins(wish))
            told = await calls.run(request, principal.tenant, task, options_at=place, too_long=_INSTEAD)
            file = await asyncio.to_thread(Path(task.outputs, wish.answer).open, "rb")
        return FileAnswer(file, media_type, _headers(msgspec.json.decode(told)))

    return routes


def _task(settings: ProcessorSettings, folder: Path) -> Task:
    for name in ("scratch", "outputs"):
        (folder / name).mkdir()
    return Task(
        step=STEP,
        input=str(folder / "input"),
        options={},
        scratch=str(folder / "scratch"),
        memory_mb=settings.step_memory_mb,
        threads=settings.step_threads,
        caps=msgspec.structs.replace(settings.caps, bytes=settings.clean_bytes),
        outputs=str(folder / "outputs"),
    )


async def _store(body: Body, path: Path) -> None:
    with path.open("xb") as file:
        async for piece in body:
            await asyncio.to_thread(file.write, piece)
        if not file.tell():
            raise invalid("body", "empty", "The file has no bytes.")


async def _options(in_query: str, body: Body) -> tuple[dict[str, Any], str]:
    """The options, and where they stand."""
    text = body.texts.get("options")
    if text is None:
        return checked_options(in_query or "{}", "query.options"), "query.options"
    if in_query:
        raise invalid("query.options", "repeated", "There are options in the body already.")
    return await asyncio.to_thread(checked_options, text, "body.options"), "body.options"


def _headers(told: Mapping[str, Any]) -> Mapping[str, str]:
    rows = told["rows"]
    return {
        "Millrace-Rows-In": str(rows["in"]),
        "Millrace-Rows-Out": str(rows["out"]),
        "Millrace-Rejected": str(rows["rejected"]),
        "Millrace-Duplicates": str(rows["duplicates"]),
        "Millrace-Changed-Cells": str(told["changed_cells"]),
    }
