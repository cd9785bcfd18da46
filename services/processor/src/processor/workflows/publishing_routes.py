"""What clients can do with workflows."""

from functools import partial
from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request, Response

from events.envelope import encode_json
from events.errors import Conflict, NotFound
from events.identity import Principal
from events.web.answers import no_unknown_parameters, read_answer
from events.web.openapi import DescribedRoutes, Page, answers, problems
from events.web.web import require
from processor.documents import REFUSED, described, document_in
from processor.language.schema import published
from processor.shapes import WORKFLOW_NAME
from processor.workflows.publishing import Publishing
from processor.workflows.views import VERDICT, WORKFLOW, WORKFLOWS, ListedWorkflow, Verdict, WorkflowView

Reader = Annotated[Principal, require("workflows:read")]
Writer = Annotated[Principal, require("workflows:write")]
Name = Annotated[str, Path(), WORKFLOW_NAME]
Limit = Annotated[int, Query(ge=1, le=200)]
Version = Annotated[int, Path(ge=1, le=2_147_483_647)]

_EXAMPLE = {"name": "d", "steps": {"a": {"uses": "sleep", "with": {"seconds": 1}}}}


_WHAT = "The workflow's document, as /api/v1/workflows/schema.json has it."
_DOCUMENT = described(_WHAT, {"type": "object"}, _EXAMPLE)
_ANYTHING = described(_WHAT, {}, _EXAMPLE)  # what is no document at all is worth a verdict, too


def router(publishing: Publishing) -> DescribedRoutes:
    routes = DescribedRoutes(
        prefix="/api/v1/workflows", tags=["workflows"], dependencies=[Depends(no_unknown_parameters)]
    )

    async def sent(request: Request, principal: Principal) -> Any:
        return await document_in(request, partial(publishing.read, principal.tenant))

    @routes.get(
        "/schema.json",
        summary="Read the JSON Schema of workflows",
        responses=answers(dict[str, Any], {"type": "object"}),
    )
    async def schema(request: Request, _: Reader) -> Response:
        """The JSON Schema of documents, for editors."""
        return read_answer(request, published())

    @routes.post(
        "/validate",
        summary="Validate a workflow without publishing it",
        responses=answers(Verdict, VERDICT) | REFUSED,
        openapi_extra=_ANYTHING,
    )
    async def validate(request: Request, principal: Reader) -> Response:
        """What is wrong with a document, all of it with its place; and its graph as Mermaid."""
        verdict = await publishing.verdict(principal.tenant, await sent(request, principal))
        return Response(encode_json(verdict), media_type="application/json")

    @routes.post(
        "",
        summary="Publish a new workflow",
        status_code=201,
        responses=answers(WorkflowView, WORKFLOW, status=201, description="Published") | problems(Conflict) | REFUSED,
        openapi_extra=_DOCUMENT,
    )
    async def publish(request: Request, principal: Writer) -> Response:
        """Publish a new workflow."""
        view, _ = await publishing.publish(principal.tenant, await sent(request, principal), principal.subject)
        return _answer(view, 201)

    @routes.put(
        "/{name}",
        summary="Publish a workflow's next version",
        responses=answers(WorkflowView, WORKFLOW, description="The newest version says the same")
        | answers(WorkflowView, WORKFLOW, status=201, description="Published")
        | problems(Conflict)
        | REFUSED,
        openapi_extra=_DOCUMENT,
    )
    async def publish_next(request: Request, principal: Writer, name: Name) -> Response:
        """Publish a workflow's next version. Jobs that were started stay with theirs."""
        document = await sent(request, principal)
        view, new = await publishing.publish(principal.tenant, document, principal.subject, name=name)
        return _answer(view, 201 if new else 200)

    @routes.get("", summary="List workflows", responses=answers(Page[ListedWorkflow], WORKFLOWS))
    async def page(
        request: Request,
        principal: Reader,
        limit: Limit = 50,
        cursor: Annotated[Annotated[str, WORKFLOW_NAME] | None, Query()] = None,
    ) -> Response:
        """The newest version of each of the tenant's workflows, by name, without documents."""
        found = await publishing.page(principal.tenant, after=cursor, limit=limit + 1)
        items = found[:limit]
        return read_answer(request, Page(items, items[-1].id if len(found) > limit else None))

    @routes.get(
        "/{name}",
        summary="Read a workflow's newest version",
        responses=answers(WorkflowView, WORKFLOW) | problems(NotFound),
    )
    async def one(request: Request, principal: Reader, name: Name) -> Response:
        """Its newest version."""
        return read_answer(request, await publishing.one(principal.tenant, name))

    @routes.get(
        "/{name}/versions",
        summary="List a workflow's versions",
        responses=answers(Page[ListedWorkflow], WORKFLOWS) | problems(NotFound),
    )
    async def versions(
        request: Request,
        principal: Reader,
        name: Name,
        limit: Limit = 50,
        cursor: Annotated[int | None, Query(ge=1, le=2_147_483_647)] = None,
    ) -> Response:
        """All its versions, the newest first, without documents."""
        await publishing.one(principal.tenant, name)
        found = await publishing.versions(principal.tenant, name, before=cursor, limit=limit + 1)
        items = found[:limit]
        return read_answer(request, Page(items, str(items[-1].version) if len(found) > limit else None))

    @routes.get(
        "/{name}/versions/{version}",
        summary="Read one version of a workflow",
        responses=answers(WorkflowView, WORKFLOW) | problems(NotFound),
    )
    async def version(request: Request, principal: Reader, name: Name, version: Version) -> Response:
        """One version, for ever the same."""
        return read_answer(request, await publishing.one(principal.tenant, name, version))

    @routes.delete("/{name}", summary="Retire a workflow", status_code=204, responses=problems(NotFound, Conflict))
    async def retire(principal: Writer, name: Name) -> Response:
        """Nobody can start it any more; its jobs go on, and its versions stay. Its schedules stay too, and skip their
        times (`not_startable`). PUT brings it back."""
        await publishing.retire(principal.tenant, name, principal.subject)
        return Response(status_code=204)

    return routes


def _answer(view: WorkflowView, status: int) -> Response:
    headers = {"Location": f"/api/v1/workflows/{view.id}/versions/{view.version}"}
    return Response(encode_json(view), status, headers, media_type="application/json")
