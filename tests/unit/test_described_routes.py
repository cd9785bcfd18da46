"""Routes that are added to an app as they are, not included as FastAPI does it."""

import inspect
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from events.web.openapi import DescribedApp, DescribedRoutes


def _routes() -> DescribedRoutes:
    routes = DescribedRoutes(prefix="/api/v1/things", tags=["things"])

    @routes.get("/{name}")
    async def show(name: str, deep: bool = False) -> dict[str, Any]:
        return {"name": name, "deep": deep}

    return routes


def test_an_app_tells_the_same_of_routes_that_are_added_as_of_such_that_are_included() -> None:
    added, included = DescribedApp("one", "/openapi.json"), DescribedApp("one", "/openapi.json")
    added.add_routes(_routes())
    included.include_router(_routes())
    document = added.openapi()
    assert document == included.openapi()
    operation = document["paths"]["/api/v1/things/{name}"]["get"]
    assert (operation["operationId"], set(operation["responses"])) == ("things.show", {"200", "422", "500", "503"})


async def test_the_first_request_builds_no_route_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """FastAPI built all included routes a second time when the first request came: a processor, freshly started,
    answered nobody for a tenth of a second, and every test that asks one something paid for it."""
    app = DescribedApp("one", "/openapi.json")
    app.add_routes(_routes())
    assert all(isinstance(route, APIRoute) for route in app.routes if getattr(route, "path", "").startswith("/api"))
    looked_at: list[Any] = []
    signature = inspect.signature

    def look(it: Any, **how: Any) -> inspect.Signature:
        looked_at.append(it)
        return signature(it, **how)

    monkeypatch.setattr(inspect, "signature", look)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://millrace") as client:
        answer = await client.get("/api/v1/things/one?deep=1")
    assert (answer.json(), looked_at) == ({"name": "one", "deep": True}, [])
