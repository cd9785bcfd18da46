"""What a tenant's administrators do with its keys."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from events.answers import no_unknown_parameters, read_answer
from events.envelope import encode_json
from events.identity import Principal
from events.web import require
from gateway.auth.credentials import SCOPES
from gateway.keys.keys import Key, Keys, Made, Wish

_LONGEST_OVERLAP = 7 * 86_400


def _known_scope(scope: str) -> str:
    if scope not in SCOPES:
        raise ValueError(f"there is no such scope; there are {', '.join(sorted(SCOPES))}")
    return scope


def _in_the_future(moment: datetime) -> datetime:
    if moment <= datetime.now(UTC):
        raise ValueError("this moment has passed")
    return moment


Admin = Annotated[Principal, Depends(require("keys:admin"))]
Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")
]
Scope = Annotated[str, AfterValidator(_known_scope)]
Future = Annotated[AwareDatetime, AfterValidator(_in_the_future)]
KeyId = Annotated[str, Path(pattern=r"^[0-9A-Za-z]{12}$")]
Cursor = Annotated[str | None, Query(pattern=r"^[0-9A-Za-z]{12}$")]
IdempotencyKey = Annotated[str | None, Header(pattern=r"^[\x21-\x7e]{1,255}$")]


class KeyWish(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Name
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(SCOPES))]
    expires_at: Future | None = None


class Rotation(BaseModel):
    model_config = ConfigDict(extra="forbid")

    overlap_seconds: Annotated[int, Field(ge=0, le=_LONGEST_OVERLAP)] = 0


def key_routes(keys: Keys) -> APIRouter:
    routes = APIRouter(prefix="/api/v1/keys", tags=["keys"], dependencies=[Depends(no_unknown_parameters)])

    @routes.post("", status_code=201)
    async def make(admin: Admin, wish: KeyWish, idempotency_key: IdempotencyKey = None) -> Response:
        """Make a key that may do no more than you. Its secret is in this answer and nowhere else."""
        asked = Wish(wish.name, frozenset(wish.scopes), wish.expires_at)
        return _made(await keys.make(admin, asked, idempotency_key))

    @routes.get("")
    async def page(
        request: Request, admin: Admin, limit: Annotated[int, Query(ge=1, le=200)] = 50, cursor: Cursor = None
    ) -> Response:
        """The tenant's keys, newest first; revoked and expired ones too."""
        found = await keys.page(admin.tenant, cursor, limit + 1)
        items = [_public(key) for key in found[:limit]]
        return read_answer(request, {"items": items, "next_cursor": items[-1]["id"] if len(found) > limit else None})

    @routes.get("/{key_id}")
    async def one(request: Request, admin: Admin, key_id: KeyId) -> Response:
        return read_answer(request, _public(await keys.one(admin.tenant, key_id)))

    @routes.delete("/{key_id}", status_code=204)
    async def revoke(admin: Admin, key_id: KeyId) -> None:
        """It ends within a second, and so do the WebSockets that it opened."""
        await keys.revoke(admin, key_id)

    @routes.post("/{key_id}/rotate", status_code=201)
    async def rotate(
        admin: Admin, key_id: KeyId, rotation: Rotation | None = None, idempotency_key: IdempotencyKey = None
    ) -> Response:
        """A new key with the same name, scopes and lifetime; the old one ends after the overlap."""
        overlap = (rotation or Rotation()).overlap_seconds
        return _made(await keys.rotate(admin, key_id, overlap, idempotency_key))

    return routes


def _public(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "prefix": f"mr_live_{key.id}",
        "name": key.name,
        "scopes": key.scopes,
        "made_by": key.made_by,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "last_used_at": key.last_used_at,
    }


def _made(made: Made) -> Response:
    headers = {"Location": f"/api/v1/keys/{made.key.id}", "Cache-Control": "no-store"}
    body = encode_json({**_public(made.key), "key": made.secret.text})
    return Response(body, 201, headers, media_type="application/json")
