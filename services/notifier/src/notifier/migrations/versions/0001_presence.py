"""Creates what notifiers tell each other of who is present."""

from events.migrate import run_sql

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_sql(__file__)
