"""A worker goes on with the trace that its job was made in."""

from events.migrate import run_sql

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    run_sql(__file__)
