"""Judges requests one by one, where a batch is not all accepted."""

from events.migrate import run_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_sql(__file__)
