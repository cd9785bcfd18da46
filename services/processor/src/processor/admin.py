"""What operators can do with parked messages."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from events.answers import no_unknown_parameters, read_answer
from events.identity import Principal
from events.web import require
from processor.dead_letters import REPLAY_LIMIT, DeadLetters, Selection

Operator = Annotated[Principal, Depends(require("ops"))]


class Replay(BaseModel):
    """Which parked messages to publish again: by id, or all that wait, narrowed by queue and routing key."""

    model_config = ConfigDict(extra="forbid")

    ids: Annotated[list[UUID], Field(min_length=1, max_length=REPLAY_LIMIT)] | None = None
    queue: str | None = None
    routing_key: str | None = None
    limit: int = Field(default=REPLAY_LIMIT, ge=1, le=REPLAY_LIMIT)


def router(dead_letters: DeadLetters) -> APIRouter:
    routes = APIRouter(
        prefix="/api/v1/admin/dead-letters", tags=["operations"], dependencies=[Depends(no_unknown_parameters)]
    )

    @routes.get("")
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
        return read_answer(request, {"items": items, "next_cursor": items[-1].id if len(found) > limit else None})

    @routes.post("/replay")
    async def replay(principal: Operator, wish: Replay) -> dict[str, Any]:
        """Publish parked messages to where they came from."""
        selection = Selection(principal.tenant, ids=wish.ids, queue=wish.queue, routing_key=wish.routing_key)
        ids = await dead_letters.replay(selection, limit=wish.limit)
        return {"replayed": len(ids), "ids": [str(id_) for id_ in ids]}

    return routes
