"""Fixtures for every test. All are lazy: a unit test starts nothing."""

pytest_plugins = [
    "fixtures.servers",
    "fixtures.parts",
    "fixtures.stack",
    "fixtures.gateway",
    "fixtures.limits",
    "fixtures.processor",
    "fixtures.killable",
    "fixtures.schedules",
    "fixtures.unlimited",
]
