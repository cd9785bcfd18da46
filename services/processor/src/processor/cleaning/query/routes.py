"""How clients ask for rows of the tables that a clean has left."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import msgspec
from fastapi import Depends, Query, Request, Response

from events.errors import Gone, NotAcceptable, NotFound, TooLarge
from events.web.accepting import chosen
from events.web.answers import no_unknown_parameters, unchanged
from events.web.file_answers import FileAnswer
from events.web.openapi import DescribedRoutes, answers, problems
from processor.artifact_views import Artifacts
from processor.cleaning.query.copies import Copies
from processor.cleaning.query.views import ANSWER, ANSWERS, STEP, TABLES, QueryAnswer, QueryWish
from processor.scratch import folder_for
from processor.settings import ProcessorSettings
from processor.shapes import STEP_NAME
from processor.step import Task
from processor.step_calls import Busy, CallCrashed, Refused, StepCalls, TookTooLong
from processor.workflows.jobs import Jobs
from processor.workflows.routes import JobReader

_INSTEAD = "Ask for less of the table, or get the file itself."
_CSV: dict[str, Any] = {"text/csv": {"schema": {"type": "string", "format": "binary"}}}

Text = Annotated[str | None, Query(max_length=4_000)]


def _responses() -> dict[int | str, dict[str, Any]]:
    told = answers(QueryAnswer, ANSWER)
    told[200]["content"] |= _CSV
    return told | problems(NotFound, Gone, NotAcceptable, TooLarge, Refused, TookTooLong, Busy, CallCrashed)


def router(
    artifacts: Artifacts, jobs: Jobs, copies: Copies, calls: StepCalls, settings: ProcessorSettings, scratch: Path
) -> DescribedRoutes:
    routes = DescribedRoutes(prefix="/api/v1/jobs", tags=["jobs"], dependencies=[Depends(no_unknown_parameters)])

    def asking(file: str) -> Callable[..., Awaitable[Response]]:
        async def ask(
            request: Request,
            job_id: UUID,
            principal: JobReader,
            columns: Text = None,
            where: Annotated[list[str], Query(max_length=50)] = [],  # noqa: B006 - FastAPI copies it
            order: Text = None,
            limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
            offset: Annotated[int, Query(ge=0, le=10**12)] = 0,
            count: bool = False,
            step: Annotated[Annotated[str, STEP_NAME] | None, Query()] = None,
            item: Annotated[int | None, Query(ge=0, le=2_147_483_647)] = None,
        ) -> Response:
            """The rows for which each `where` holds (`amount>=10`, `name~ada`, `day:between:2024-01-01,2024-01-31`,
            `id:in:1,2`, `name:is:null`), by `order` (`-amount,name`), with the `columns` that are named
            (`name,amount`), as JSON or CSV: what `Accept` says. `count` counts all that match. In place of `cleaned`,
            `rejects`, `duplicates`, `changes` and `findings` are asked in the same way."""
            media_type = chosen(request.headers.get("Accept"), tuple(ANSWERS))
            await jobs.one(principal.tenant, job_id)
            artifact = await artifacts.one(principal.tenant, job_id, file, step=step, item=item)
            known = f"{artifact['blob']} {media_type} {request.url.query}"  # no blob of a step is ever written again
            headers = {"ETag": f'W/"{hashlib.blake2b(known.encode(), digest_size=12).hexdigest()}"', "Vary": "Accept"}
            same = unchanged(request, headers["ETag"])
            if same is not None:
                return same
            wish = QueryWish(tuple(where), columns, order, limit, offset, count, ANSWERS[media_type])
            with folder_for(scratch, "query") as folder:
                try:
                    async with copies.opened(artifact["blob"], artifact["bytes"]) as table:
                        task = _task(settings, folder, wish, table)
                        told = await calls.run(request, principal.tenant, task, options_at="query", too_long=_INSTEAD)
                except NotFound:
                    raise Gone("The bytes of this artifact have been deleted.") from None
                answer = await asyncio.to_thread((folder / wish.answer).open, "rb")
            said = {"Millrace-Next-Offset": "next_offset", "Millrace-Count": "count"}
            found = msgspec.json.decode(told)
            headers |= {name: str(found[of]) for name, of in said.items() if found[of] is not None}
            return FileAnswer(answer, media_type, headers)

        return ask

    for name, file in TABLES.items():
        routes.get(
            f"/{{job_id}}/artifacts/{name}",
            name=f"query_{name}",
            summary="Query the rows that a clean has let through",
            responses=_responses(),
            include_in_schema=name == "cleaned",  # which says that the others are asked alike
        )(asking(file))
    return routes


def _task(settings: ProcessorSettings, folder: Path, wish: QueryWish, table: Path) -> Task:
    (folder / "scratch").mkdir()
    return Task(
        step=STEP,
        input=str(table),
        options=msgspec.to_builtins(wish),
        scratch=str(folder / "scratch"),
        memory_mb=settings.step_memory_mb,
        threads=settings.step_threads,
        outputs=str(folder),
    )
