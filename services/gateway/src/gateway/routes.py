"""The gateway's own endpoints."""

from importlib.metadata import version
from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel

from events.openapi import example
from gateway.health import Health

State = Literal["ok", "down"]


class Index(BaseModel):
    name: str
    version: str
    links: dict[str, str]


class Pong(BaseModel):
    pong: bool


class HealthReport(BaseModel):
    broker: State
    database: State
    storage: State
    version: str


_LINKS = {
    "health": "/health",
    "ping": "/ping",
    "pipelines": "/pipelines",
    "openapi": "/api/v1/openapi.json",
    "docs": "/docs",
}
_INDEX = Index(name="Millrace", version=version("millrace-gateway"), links=_LINKS)
_HEALTHY = HealthReport(broker="ok", database="ok", storage="ok", version=_INDEX.version)


def public_routes(health: Health) -> APIRouter:
    """What anybody may ask."""
    router = APIRouter(tags=["public"])

    @router.get("/", responses=example(_INDEX))
    async def index() -> Index:
        """What this is, and where to go."""
        links = {
            "health": "/health",
            "ping": "/ping",
            "pipelines": "/pipelines",
            "openapi": "/api/v1/openapi.json",
            "docs": "/docs",
        }
        return Index(name="Millrace", version=_INDEX.version, links=links)

    @router.get("/ping", responses=example(Pong(pong=True)))
    async def ping() -> Pong:
        return Pong(pong=True)

    @router.get("/health", responses=example(_HEALTHY) | {503: {"model": HealthReport}})
    async def report(response: Response) -> HealthReport:
        """Whether broker, database and storage answer: 200 if all do, else 503."""
        parts = await health.parts()
        response.status_code = 200 if set(parts.values()) == {"ok"} else 503
        return HealthReport.model_validate({**parts, "version": _INDEX.version})

    return router
