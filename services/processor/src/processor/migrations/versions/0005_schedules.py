"""Schedules as rows: when each fires next, and which job of it is still to be started."""

from events.migrate import run_sql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_sql(__file__)
