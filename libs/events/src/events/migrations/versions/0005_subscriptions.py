"""Creates subscriptions: places in the log that move with what is done, and what groups of subscribers have parked."""

from events.migrate import run_sql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_sql(__file__)
