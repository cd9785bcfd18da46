"""What operators can do with parked messages."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from events.identity import Principal
from events.web.answers import no_unknown_parameters, read_answer
from events.web.openapi import DescribedRoutes, Page, answers, example
from events.web.web import require
from processor.dead_letters import REPLAY_LIMIT, DeadLetter, DeadLetters, Selection

Operator = Annotated[Principal, require("ops")]


class Replay(BaseModel):
    """Which parked messages to publish again: by id, or all that wait, narrowed by queue and routing key."""

    model_config = ConfigDict(extra="forbid")

    ids: Annotated[list[UUID], Field(min_length=1, max_length=REPLAY_LIMIT)] | None = None
    queue: str | None = None
    routing_key: str | None = None
    limit: int = Field(default=REPLAY_LIMIT, ge=1, le=REPLAY_LIMIT)


class Replayed(BaseModel):
    replayed: int
    ids: Sequence[UUID]


_PAGE = Page(
    [
        DeadLetter(
            id=UUID("01a1fbf3-0a52-7c0e-9a55-0b1f6a1f8e21"),
            queue="processor.uploads",
            message_id="01a1fbea-6e13-7d45-ac0a-768cee331159",
            tenant="default",
            routing_key="upload.completed",
            reason="invalid_input: data.bytes: Input should be a valid integer",
            attempts=5,
            bytes=612,
            parked_at=datetime(2026, 11, 21, 2, 30, tzinfo=UTC),
            replayed_at=None,
        )
    ],
    None,
)

_REPLAYED = Replayed(replayed=1, ids=[_PAGE.items[0].id])


def router(dead_letters: DeadLetters) -> DescribedRoutes:
    routes = DescribedRoutes(
        prefix="/api/v1/admin/dead-letters", tags=["operations"], dependencies=[Depends(no_unknown_parameters)]
    )

    @routes.get("", summary="List dead letters", responses=answers(Page[DeadLetter], _PAGE))
    async def page(
        request: Request,
        principal: Operator,
        queue: str | None = None,
        routing_key: str | None = None,
        replayed: bool | None = False,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: UUID | None = None,
    ) -> Response:
        """Messages that nobody could handle, with the reason; newest first. Those that were replayed only if asked."""
        selection = Selection(principal.tenant, queue=queue, routing_key=routing_key)
        found = await dead_letters.page(selection, before=cursor, limit=limit + 1, replayed=replayed)
        items = found[:limit]
        return read_answer(request, Page(items, str(items[-1].id) if len(found) > limit else None))

    @routes.post("/replay", summary="Replay dead letters", responses=example(_REPLAYED))
    async def replay(principal: Operator, wish: Replay) -> Replayed:
        """Publish parked messages to where they came from."""
        selection = Selection(principal.tenant, ids=wish.ids, queue=wish.queue, routing_key=wish.routing_key)
        ids = await dead_letters.replay(selection, limit=wish.limit)
        return Replayed(replayed=len(ids), ids=ids)

    return routes
