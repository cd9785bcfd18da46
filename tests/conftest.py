"""Fixtures for every test. All are lazy: a unit test starts nothing."""

import structlog
from hypothesis import settings

# What `make test` says of a commit, it says every time. `make fuzz` and `make soak` have dice of their own.
settings.register_profile("the same every time", derandomize=True, deadline=None)
settings.load_profile("the same every time")

# Where `rich` is installed, structlog would write out every local variable of a traceback, which takes ten seconds of a
# service's loop if a body is among them.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(),
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)

pytest_plugins = [
    "fixtures.servers",
    "fixtures.s3",
    "fixtures.blobs",
    "fixtures.parts",
    "fixtures.stack",
    "fixtures.gateway",
    "fixtures.limits",
    "fixtures.processor",
    "fixtures.notifier",
    "fixtures.killable",
    "fixtures.ingest",
    "fixtures.tus",
    "fixtures.ingest_processes",
    "fixtures.schedules",
    "fixtures.subscribers",
    "fixtures.opening",
    "fixtures.patient",
    "fixtures.unlimited",
    "fixtures.node",
    "fixtures.chromium",
    "fixtures.tus_clients",
    "fixtures.centrifuge_sdks",
]
