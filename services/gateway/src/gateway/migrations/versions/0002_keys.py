"""Nothing: API keys came later, in 0006."""

from events.migrate import run_sql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_sql(__file__)
