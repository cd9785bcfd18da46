"""What our APIs say of themselves in OpenAPI: schemas and real examples of answers, and of problems."""

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import msgspec
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel

from events.envelope import encode_json
from events.errors import InternalError, InvalidInput, MillraceError, Unavailable

Responses = dict[int | str, dict[str, Any]]
T = TypeVar("T")

PROBLEM_JSON = "application/problem+json"
_NULL = "\0"  # FastAPI drops nulls from examples: this stands for one until it is through
_NO_LINKS: Mapping[str, Any] = {}
PROBLEM = {
    "title": "Problem",
    "description": "What went wrong, as RFC 9457 has it. `code` is stable, and `errors` names the wrong fields.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance", "code", "request_id"],
    "properties": {
        **{name: {"type": "string"} for name in ("type", "title", "detail", "instance", "code", "request_id")},
        "status": {"type": "integer"},
        "errors": {
            "type": "array",
            "items": {
                "title": "FieldError",
                "type": "object",
                "required": ["field", "code", "detail"],
                "properties": {name: {"type": "string"} for name in ("field", "code", "detail")},
            },
        },
    },
}


class Page(msgspec.Struct, Generic[T], frozen=True):
    items: list[T]
    next_cursor: str | None


def answers(
    kind: Any, example: Any, *, status: int = 200, description: str = "OK", links: Mapping[str, Any] = _NO_LINKS
) -> Responses:
    """An answer of JSON, by its type and a real one."""
    (schema,), parts = msgspec.json.schema_components((kind,), ref_template="#/components/schemas/{name}")
    content = {"schema": {**schema, "$defs": parts}, "example": _with_nulls(msgspec.json.decode(encode_json(example)))}
    return {status: {"description": description, "content": {"application/json": content}, "links": links}}


def example(view: BaseModel, *, status: int = 200) -> Responses:
    """What an answer looks like whose type FastAPI knows."""
    return {status: {"content": {"application/json": {"example": _with_nulls(view.model_dump(mode="json"))}}}}


def links(tag: str, *operations: str, **parameters: str) -> dict[str, Any]:
    """What can be done next with what an answer holds."""
    ids = [operation_id(tag, name) for name in operations]
    return {id_: {"operationId": id_, "parameters": parameters} for id_ in ids}


def operation_id(*names: str) -> str:
    return ".".join(names)


def _with_nulls(node: Any) -> Any:
    match node:
        case dict():
            return {name: _with_nulls(part) for name, part in node.items()}
        case list():
            return [_with_nulls(part) for part in node]
        case _:
            return _NULL if node is None else node


def problems(*kinds: type[MillraceError]) -> Responses:
    """Answers that are errors, each with an example."""
    found: Responses = {}
    for kind in kinds:
        response = found.setdefault(
            kind.status,
            {
                "description": kind.title,
                "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}}},
            },
        )
        if kind.title not in response["description"]:
            response["description"] += f", or: {kind.title}"
        response["content"][PROBLEM_JSON]["examples"][kind.code] = {"value": _example(kind)}
    return found


def _example(kind: type[MillraceError]) -> Mapping[str, Any]:
    example: dict[str, Any] = {
        "type": kind.problem_type or f"urn:millrace:problem:{kind.code}",
        "title": kind.title,
        "status": kind.status,
        "detail": f"{kind.title}.",
        "instance": "/api/v1/…",
        "code": kind.code,
        "request_id": "4f1c9a8e2b7d4a53b1de0c6f4a2b9e77",
    }
    if issubclass(kind, InvalidInput):
        example["errors"] = [{"field": "query.limit", "code": "less_than_equal", "detail": "Input should be less…"}]
    return example


# What any request may be answered with.
ALWAYS = problems(InvalidInput, InternalError, Unavailable)


class DescribedRoutes(APIRouter):
    """Routes that say by themselves all that a `DescribedApp` has to know of them."""

    def __init__(self, **common: Any) -> None:
        super().__init__(responses=ALWAYS, generate_unique_id_function=_id_of, **common)


class DescribedApp(FastAPI):
    def __init__(self, title: str, openapi_url: str | None) -> None:
        super().__init__(
            title=title,
            openapi_url=openapi_url,
            docs_url=None,
            redoc_url=None,
            responses=ALWAYS,
            generate_unique_id_function=_id_of,
        )

    def add_routes(self, routes: DescribedRoutes) -> None:
        """As they are. What FastAPI includes it builds once more when the first request comes, and nobody else is
        answered meanwhile: a processor's routes take it a tenth of a second."""
        self.router.routes.extend(routes.routes)

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            document = super().openapi()
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            schemas["Problem"] = PROBLEM
            document["paths"] = _finished(document["paths"], schemas)
        return super().openapi()


def _id_of(route: APIRoute) -> str:
    return operation_id(*map(str, route.tags[:1]), route.name)


def _finished(node: Any, schemas: dict[str, Any]) -> Any:
    """With the nulls put back, and the definitions that came along with a schema moved to where it refers to."""
    match node:
        case dict():
            schemas.update(node.pop("$defs", {}))
            return {name: _finished(part, schemas) for name, part in node.items()}
        case list():
            return [_finished(part, schemas) for part in node]
        case _:
            return None if node == _NULL else node
