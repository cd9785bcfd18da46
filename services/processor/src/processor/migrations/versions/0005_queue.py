"""The queue that jobs wait in, and the mail that people and other jobs send to a job."""

from events.migrate import run_sql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_sql(__file__)
