"""What a schedule looks like."""

from datetime import UTC, datetime
from uuid import UUID

import msgspec

from events.web.openapi import Page
from processor.schedules.schedule import Schedule

SCHEDULE = Schedule(
    id=UUID("01a1fbf2-9c1e-7a61-8f0b-3d2a6c5e7b90"),
    workflow="nightly",
    input=msgspec.Raw(b'{"customer":"acme"}'),
    cron="30 2 * * MON-FRI",
    time_zone="Europe/Berlin",
    next_at=datetime(2026, 11, 24, 1, 30, tzinfo=UTC),
    last_at=datetime(2026, 11, 23, 1, 30, tzinfo=UTC),
    last_job_id=UUID("01a20649-3e40-71d7-b8b9-04d4b6e0c2a1"),
    created_at=datetime(2026, 11, 21, 2, 31, 8, tzinfo=UTC),
    created_by="user:01a1fbe0-3c5e-7b1a-9d52-0b6a7f2f3c11",
    updated_at=datetime(2026, 11, 23, 1, 30, tzinfo=UTC),
)
SCHEDULES = Page([SCHEDULE], None)
