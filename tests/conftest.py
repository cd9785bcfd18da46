"""Fixtures for every test. All are lazy: a unit test starts nothing."""

from hypothesis import settings

# What `make test` says of a commit, it says every time. `make fuzz` and `make soak` have dice of their own.
settings.register_profile("the same every time", derandomize=True, deadline=None)
settings.load_profile("the same every time")

pytest_plugins = [
    "fixtures.servers",
    "fixtures.s3",
    "fixtures.blobs",
    "fixtures.parts",
    "fixtures.stack",
    "fixtures.gateway",
    "fixtures.limits",
    "fixtures.processor",
    "fixtures.killable",
    "fixtures.ingest_processes",
    "fixtures.schedules",
    "fixtures.opening",
    "fixtures.unlimited",
    "fixtures.node",
    "fixtures.tus_clients",
]
