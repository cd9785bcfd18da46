"""Creates tickets and the terms of open sockets."""

from events.migrate import run_sql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run_sql(__file__)
