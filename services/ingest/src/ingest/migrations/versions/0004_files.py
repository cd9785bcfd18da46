"""Creates the files on their way by the tus protocol."""

from events.migrate import run_sql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run_sql(__file__)
