"""Each route of the processor says in the API's pages what it does."""

from inspect import signature
from typing import Any, cast

from events.web.openapi import DescribedApp
from processor import admin, artifact_routes, event_routes
from processor.cleaning import clean_routes
from processor.cleaning import routes as recipe_routes
from processor.cleaning.query import routes as query_routes
from processor.schedules import routes as schedule_routes
from processor.workflows import control_routes, publishing_routes, routes

MODULES = (
    routes,
    query_routes,
    artifact_routes,
    control_routes,
    publishing_routes,
    recipe_routes,
    clean_routes,
    schedule_routes,
    event_routes,
    admin,
)
SUMMARIES = {
    "jobs.page": "List jobs",
    "jobs.statistics": "Count jobs and their times, by workflow",
    "jobs.one": "Read a job, its steps and what it waits for",
    "jobs.items": "List the items of a job's map",
    "jobs.artifacts_page": "List the files that a job has made",
    "jobs.artifact": "Get a file that a job has made",
    "jobs.artifact_head": "See how large a file is that a job has made, and of what type",
    "jobs.query_cleaned": "Query the rows that a clean has let through",
    "jobs.pipelines": "List the built-in workflows",
    "jobs.start": "Start a job of any workflow",
    "jobs.start_one": "Start a job of this workflow",
    "jobs.retry_all": "Retry all jobs that match",
    "jobs.retry": "Retry a job as a new one",
    "jobs.cancel": "Cancel a job",
    "jobs.pause": "Pause a job",
    "jobs.resume": "Resume a paused job",
    "jobs.signal": "Send a signal to a job, or answer an approval",
    "workflows.schema": "Read the JSON Schema of workflows",
    "workflows.validate": "Validate a workflow without publishing it",
    "workflows.publish": "Publish a new workflow",
    "workflows.publish_next": "Publish a workflow's next version",
    "workflows.page": "List workflows",
    "workflows.one": "Read a workflow's newest version",
    "workflows.versions": "List a workflow's versions",
    "workflows.version": "Read one version of a workflow",
    "workflows.retire": "Retire a workflow",
    "recipes.schema": "Read the JSON Schema of recipes",
    "recipes.judge": "Validate a recipe without running it",
    "schedules.create": "Create a schedule",
    "schedules.page": "List schedules",
    "schedules.one": "Read a schedule",
    "schedules.replace": "Change a schedule",
    "schedules.pause": "Pause a schedule",
    "schedules.resume": "Resume a paused schedule",
    "schedules.delete": "Delete a schedule",
    "events.job_events": "List a job's events",
    "events.stream_events": "List a stream's events",
    "events.all_events": "List the events of the tenant's log",
    "cleaning.clean": "Clean a small file in one call",
    "operations.page": "List dead letters",
    "operations.replay": "Replay dead letters",
}


def test_every_route_has_a_summary_of_its_own() -> None:
    app = DescribedApp("processor", None)
    for module in MODULES:
        app.include_router(cast(Any, module).router(*[None] * len(signature(cast(Any, module).router).parameters)))
    paths = app.openapi()["paths"]
    told = {one["operationId"]: one["summary"] for methods in paths.values() for one in methods.values()}
    assert told == SUMMARIES
    assert len(set(told.values())) == len(told)
