"""What operators can ask of the processor."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from events.identity import Principal
from events.web import require
from processor.dead_letters import DeadLetters

Operator = Annotated[Principal, Depends(require("ops"))]


class Replay(BaseModel):
    ids: list[int] = Field(min_length=1, max_length=1000)


def router(dead_letters: DeadLetters) -> APIRouter:
    routes = APIRouter(prefix="/api/v1/admin", tags=["operations"])

    @routes.get("/dead-letters")
    async def waiting(
        operator: Operator, limit: Annotated[int, Query(ge=1, le=200)] = 50, cursor: int = 0
    ) -> dict[str, Any]:
        """Messages that could not be handled, oldest first, with the reason."""
        found = await dead_letters.waiting(cursor, limit + 1)
        items = found[:limit]
        return {"items": items, "next_cursor": items[-1]["id"] if len(found) > limit else None}

    @routes.post("/dead-letters/replay", status_code=202)
    async def replay(operator: Operator, wanted: Replay) -> dict[str, int]:
        """Give messages back to the queue that they came from."""
        for id_ in wanted.ids:
            await dead_letters.replay(id_)
        return {"replayed": len(wanted.ids)}

    return routes
