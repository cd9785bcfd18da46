"""Remembers which streams of events a ticket has opened."""

from events.migrate import run_sql

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    run_sql(__file__)
