"""What is out with remote workers, and when somebody must look after it."""

from events.migrate import run_sql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run_sql(__file__)
