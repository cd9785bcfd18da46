"""The gateway's own endpoints."""

from importlib.metadata import version
from typing import Annotated, Literal

from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict

from events.identity import Principal
from events.web.openapi import DescribedRoutes, example
from events.web.web import require
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
    services: dict[str, State] | None = None  # named only if they do not answer

    @property
    def all_ok(self) -> bool:
        return self.services is None and {self.broker, self.database, self.storage} == {"ok"}


class ServiceDetails(BaseModel):
    model_config = ConfigDict(extra="allow")

    state: Literal["ok", "draining", "down"]


class DetailedHealth(HealthReport):
    details: dict[str, ServiceDetails]


_LINKS = {
    "health": "/health",
    "ping": "/ping",
    "pipelines": "/pipelines",
    "openapi": "/api/v1/openapi.json",
    "asyncapi": "/api/v1/asyncapi.json",
    "docs": "/docs",
}
_INDEX = Index(name="Millrace", version=version("millrace-gateway"), links=_LINKS)
_HEALTHY = HealthReport(broker="ok", database="ok", storage="ok", version=_INDEX.version)

_DETAILED = DetailedHealth.model_validate(
    {
        **_HEALTHY.model_dump(),
        "details": {
            "gateway": {"state": "ok", "version": "0.1.0", "uptime_seconds": 3600.5, "halted_loops": []},
            "processor": {
                "state": "ok",
                "version": "0.1.0",
                "uptime_seconds": 3599.8,
                "parts": {"database": {"state": "ok", "latency_ms": 0.31}},
                "halted_loops": [],
                "log": {"epoch": "01a1fbe0-3c5e-7b1a-9d52-0b6a7f2f3c11", "head": 4711},
                "relay_lag": {"relay.events": 0, "relay.feed": 2},
                "jobs": {"waiting": 3, "working": 2, "oldest_waiting_seconds": 4},
                "queue_depth": {"millrace.dead": 0, "millrace.intake": 0},
            },
        },
    }
)


def public_routes(health: Health) -> DescribedRoutes:
    """What anybody may ask."""
    router = DescribedRoutes(tags=["public"])

    @router.get("/", responses=example(_INDEX))
    async def index() -> Index:
        """What this is, and where to go."""
        return _INDEX

    @router.get("/ping", responses=example(Pong(pong=True)))
    async def ping() -> Pong:
        return Pong(pong=True)

    @router.get(
        "/health",
        responses=example(_HEALTHY) | {503: {"model": HealthReport}},
        response_model=HealthReport,
        response_model_exclude_none=True,
    )
    async def report(response: Response) -> HealthReport:
        """Whether broker, database and storage answer: 200 if all do, and all services, else 503."""
        found = await _report()
        response.status_code = 200 if found.all_ok else 503
        return found

    async def _report() -> HealthReport:
        parts, silent = await health.parts()
        named = {"services": dict.fromkeys(silent, "down")} if silent else {}
        return HealthReport.model_validate({**parts, "version": _INDEX.version, **named})

    @router.get("/health/detailed", responses=example(_DETAILED), response_model_exclude_none=True)
    async def details(request: Request, _: Annotated[Principal, require("ops")]) -> DetailedHealth:
        """The same, and what each service says of itself: latencies, the log's head, what lags and what waits."""
        own = await request.app.state.status.report()
        found, others = await _report(), await health.details()
        return DetailedHealth.model_validate({**found.model_dump(), "details": {"gateway": own, **others}})

    return router
