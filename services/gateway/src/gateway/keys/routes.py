"""What a tenant's administrators do with its keys."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from fastapi import Depends, Path, Query, Request, Response
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, WithJsonSchema

from events.envelope import encode_json
from events.errors import Conflict, CursorExpired, Forbidden, IdempotencyKeyReused, NotFound
from events.identity import Principal
from events.web.answers import no_unknown_parameters, read_answer
from events.web.openapi import DescribedRoutes, Page, answers, links, problems
from events.web.shapes import Shape
from events.web.web import require
from gateway.auth.credentials import SCOPES
from gateway.keys.keys import Key, Keys, Made, Wish
from gateway.repeats import IdempotencyKey

_LONGEST_OVERLAP = 7 * 86_400  # seconds
_LONGEST_LIFE = timedelta(days=36_525)


def _known_scope(scope: str) -> str:
    if scope not in SCOPES:
        raise ValueError(f"there is no such scope; there are {', '.join(sorted(SCOPES))}")
    return scope


def _in_the_future(moment: datetime) -> datetime:
    now = datetime.now(UTC)
    if moment <= now:
        raise ValueError("this moment has passed")
    if moment > now + _LONGEST_LIFE:
        raise ValueError("a key that expires does so within a century")
    return moment


Admin = Annotated[Principal, require("keys:admin")]
Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=100),
    Shape(r"^[^\x00-\x1f\x7f]*$", "one line of text, without control characters"),
]
Scope = Annotated[
    str, AfterValidator(_known_scope), WithJsonSchema({"type": "string", "enum": sorted(SCOPES), "title": "Scope"})
]
Future = Annotated[AwareDatetime, AfterValidator(_in_the_future)]
_ID = Shape(r"^[0-9A-Za-z]{12}$", "the id of a key: 12 letters or digits")
KeyId = Annotated[str, Path(), _ID]
Cursor = Annotated[Annotated[str, _ID] | None, Query()]


class KeyWish(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Name
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(SCOPES))]
    expires_at: Future | None = None


class Rotation(BaseModel):
    model_config = ConfigDict(extra="forbid")

    overlap_seconds: Annotated[int, Field(ge=0, le=_LONGEST_OVERLAP)] = 0


class KeyView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    prefix: str
    name: str
    scopes: list[str]
    made_by: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class KeyMade(KeyView, frozen=True, kw_only=True):
    key: str  # shown this once


_KEY = KeyView(
    id="mXq4TzvR0bLk",
    prefix="mr_live_mXq4TzvR0bLk",
    name="dashboard",
    scopes=["events:read", "jobs:read"],
    made_by="user:01a1fbea-6e13-7d45-ac0a-768cee331159",
    created_at=datetime(2026, 11, 21, 2, 23, 27, tzinfo=UTC),
    expires_at=None,
    revoked_at=None,
    last_used_at=None,
)
_LINKS = links("keys", "one", "revoke", "rotate", key_id="$response.body#/id")
_MADE = KeyMade(**msgspec.structs.asdict(_KEY), key="mr_live_mXq4TzvR0bLk_…")


def key_routes(keys: Keys) -> DescribedRoutes:
    routes = DescribedRoutes(prefix="/api/v1/keys", tags=["keys"], dependencies=[Depends(no_unknown_parameters)])

    @routes.post(
        "",
        status_code=201,
        responses=answers(KeyMade, _MADE, status=201, links=_LINKS) | problems(Forbidden, IdempotencyKeyReused),
    )
    async def make(admin: Admin, wish: KeyWish, idempotency_key: IdempotencyKey = None) -> Response:
        """Make a key that may do no more than you. Its secret is in this answer and nowhere else."""
        asked = Wish(wish.name, frozenset(wish.scopes), wish.expires_at)
        return _made(await keys.make(admin, asked, idempotency_key))

    @routes.get("", responses=answers(Page[KeyView], Page([_KEY], None)) | problems(CursorExpired))
    async def page(
        request: Request, admin: Admin, limit: Annotated[int, Query(ge=1, le=200)] = 50, cursor: Cursor = None
    ) -> Response:
        """The tenant's keys, newest first; revoked and expired ones too."""
        found = await keys.page(admin.tenant, cursor, limit + 1)
        items = [_view(key) for key in found[:limit]]
        return read_answer(request, Page(items, items[-1].id if len(found) > limit else None))

    @routes.get("/{key_id}", responses=answers(KeyView, _KEY) | problems(NotFound))
    async def one(request: Request, admin: Admin, key_id: KeyId) -> Response:
        return read_answer(request, _view(await keys.one(admin.tenant, key_id)))

    @routes.delete("/{key_id}", status_code=204, responses=problems(NotFound))
    async def revoke(admin: Admin, key_id: KeyId) -> None:
        """It ends within a second, and so do the WebSockets that it opened."""
        await keys.revoke(admin, key_id)

    @routes.post(
        "/{key_id}/rotate",
        status_code=201,
        responses=answers(KeyMade, _MADE, status=201, links=_LINKS)
        | problems(Forbidden, NotFound, Conflict, IdempotencyKeyReused),
    )
    async def rotate(
        admin: Admin, key_id: KeyId, rotation: Rotation | None = None, idempotency_key: IdempotencyKey = None
    ) -> Response:
        """A new key with the same name, scopes and lifetime; the old one ends after the overlap."""
        overlap = (rotation or Rotation()).overlap_seconds
        return _made(await keys.rotate(admin, key_id, overlap, idempotency_key))

    return routes


def _view(key: Key) -> KeyView:
    return KeyView(prefix=f"mr_live_{key.id}", **asdict(key))


def _made(made: Made) -> Response:
    headers = {"Location": f"/api/v1/keys/{made.key.id}", "Cache-Control": "no-store"}
    body = encode_json(KeyMade(key=made.secret.text, **msgspec.structs.asdict(_view(made.key))))
    return Response(body, 201, headers, media_type="application/json")
