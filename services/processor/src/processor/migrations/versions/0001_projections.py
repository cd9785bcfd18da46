"""Creates the job projection, and the append that keeps it current."""

from events.migrate import run_sql

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_sql(__file__)
