"""What clients can do with recipes before there is a file."""

from typing import Annotated, Any

import msgspec
from fastapi import Depends, Request, Response

from events.envelope import encode_json
from events.errors import FieldError
from events.identity import Principal
from events.web.answers import no_unknown_parameters, read_answer
from events.web.openapi import DescribedRoutes, answers
from events.web.web import require
from processor.cleaning.recipe.schema import published
from processor.cleaning.recipe.validation import validate
from processor.documents import REFUSED, described, document_in
from processor.language.document import read
from processor.workflows.beside import Beside

Reader = Annotated[Principal, require("workflows:read")]


class RecipeVerdict(msgspec.Struct, frozen=True):
    valid: bool
    errors: list[FieldError]  # each with its place in the document


_VERDICT = RecipeVerdict(
    valid=False,
    errors=[FieldError("body.rules[1].rule", "unknown_rule", "There is no rule trimm. Did you mean trim?")],
)
_DOCUMENT = described(
    "The recipe's document, as /api/v1/recipes/schema has it.",
    {},  # what is no document at all is worth a verdict, too
    {"version": 1, "rules": [{"rule": "trim"}, {"rule": "integer", "columns": ["age"]}]},
)


def router(beside: Beside) -> DescribedRoutes:
    routes = DescribedRoutes(prefix="/api/v1/recipes", tags=["recipes"], dependencies=[Depends(no_unknown_parameters)])

    @routes.get(
        "/schema",
        summary="Read the JSON Schema of recipes",
        responses=answers(dict[str, Any], {"type": "object"}),
    )
    async def schema(request: Request, principal: Reader) -> Response:
        """The JSON Schema of recipes' documents, for editors."""
        return read_answer(request, await beside.do(principal.tenant, published))

    @routes.post(
        "/validate",
        summary="Validate a recipe without running it",
        responses=answers(RecipeVerdict, _VERDICT) | REFUSED,
        openapi_extra=_DOCUMENT,
    )
    async def judge(request: Request, principal: Reader) -> Response:
        """What is wrong with a recipe whatever the table, all of it with its place. Whether its columns are there only
        a file can tell: `csv-preview` does."""
        document = await document_in(request, lambda body, kind: beside.do(principal.tenant, read, body, kind))
        verdict = await beside.do(principal.tenant, validate, document)
        errors = [FieldError(f"body.{one.place}".rstrip("."), one.code, one.detail) for one in verdict.problems]
        return Response(encode_json(RecipeVerdict(not errors, errors)), media_type="application/json")

    return routes
