"""Creates epochs: where the log was seen, and since when it is another one."""

from events.migrate import run_sql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run_sql(__file__)
