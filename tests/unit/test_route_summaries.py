"""Each route of the processor says in the API's pages what it does."""

from typing import Any, cast

from events.openapi import DescribedApp
from processor import admin, event_routes
from processor.schedules import routes as schedule_routes
from processor.summaries import SUMMARIES
from processor.workflows import control_routes, publishing_routes, routes

MODULES = (routes, control_routes, publishing_routes, schedule_routes, event_routes, admin)


def test_every_route_has_a_summary_of_its_own() -> None:
    app = DescribedApp("processor", None, SUMMARIES)
    for module in MODULES:
        app.include_router(cast(Any, module).router(None))
    paths = app.openapi()["paths"]
    told = {one["operationId"]: one["summary"] for methods in paths.values() for one in methods.values()}
    assert told == dict(SUMMARIES)
    assert len(set(told.values())) == len(told)
