"""How reads answer: an ETag each, nothing when the client has it already, and no parameter misspelt in silence."""

import hashlib
from typing import Any, get_origin

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant

from events.envelope import encode_json
from events.errors import FieldError, InvalidInput


def read_answer(request: Request, value: Any) -> Response:
    """The value as JSON, or a 304 if the client has it already."""
    return bytes_answer(request, encode_json(value))


def bytes_answer(request: Request, body: bytes) -> Response:
    """The same for JSON that is encoded already."""
    etag = f'W/"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    return unchanged(request, etag) or Response(body, media_type="application/json", headers={"ETag": etag})


def unchanged(request: Request, etag: str) -> Response | None:
    """A 304 if the client says that it has this version."""
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("If-None-Match", "").split(",")}
    return Response(status_code=304, headers={"ETag": etag}) if known & {etag.removeprefix("W/"), "*"} else None


async def no_unknown_parameters(request: Request) -> None:
    """A dependency: a misspelt or repeated parameter must not silently mean something else."""
    dependant: Dependant = request.scope["route"].dependant
    known = {parameter.alias for parameter in dependant.query_params}
    once = {one.alias for one in dependant.query_params if get_origin(one.field_info.annotation) is not list}
    given = [name for name, _ in request.query_params.multi_items()]
    errors = [
        FieldError(f"query.{name}"[:100], "unknown", "There is no such parameter.") for name in sorted({*given} - known)
    ]
    errors += [
        FieldError(f"query.{name}", "repeated", "Give it once.") for name in sorted(once) if given.count(name) > 1
    ]
    if errors:
        raise InvalidInput("; ".join(f"{e.field}: {e.detail}" for e in errors[:10]), errors=errors[:10])
