"""Rebuilds one projection at a time, and tells how far it is."""

from events.migrate import run_sql

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    run_sql(__file__)
