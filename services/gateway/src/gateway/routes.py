"""The gateway's own endpoints."""

from importlib.metadata import version
from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel

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


def public_routes(health: Health) -> APIRouter:
    """What anybody may ask."""
    router = APIRouter(tags=["public"])
    this_version = version("millrace-gateway")

    @router.get("/")
    async def index() -> Index:
        """What this is, and where to go."""
        links = {"health": "/health", "ping": "/ping", "pipelines": "/pipelines", "api": "/api/v1/"}
        return Index(name="Millrace", version=this_version, links=links)

    @router.get("/ping")
    async def ping() -> Pong:
        return Pong(pong=True)

    @router.get("/health", responses={503: {"model": HealthReport}})
    async def report(response: Response) -> HealthReport:
        """Whether broker, database and storage answer: 200 if all do, else 503."""
        parts = await health.parts()
        response.status_code = 200 if set(parts.values()) == {"ok"} else 503
        return HealthReport.model_validate({**parts, "version": this_version})

    return router
