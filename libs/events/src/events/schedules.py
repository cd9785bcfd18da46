"""What is said of schedules. Streams are `schedule:<id>`.

Every event says when the schedule fires next: projections copy it, since no database reads cron expressions.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from events.catalog import Payload, event


class Overlap(StrEnum):
    """What a firing does while jobs of former ones are unfinished."""

    SKIP = "skip"  # nothing
    QUEUE = "queue"  # its job begins when they have ended
    CANCEL = "cancel"  # it cancels them, and its job begins when they have ended
    ALLOW = "allow"  # its job begins at once


class CatchUp(StrEnum):
    """Which of the firings that were missed are made up for."""

    LATEST = "latest"
    ALL = "all"
    NONE = "none"


class SkipReason(StrEnum):
    MISSED = "missed"  # nobody was there to fire
    OVERLAP = "overlap"  # a job of a former firing is unfinished
    BACKLOG = "backlog"  # too many are
    QUOTA_EXCEEDED = "quota_exceeded"
    NOT_STARTABLE = "not_startable"  # the workflow is gone, or retired
    INVALID_INPUT = "invalid_input"  # the workflow's newest version does not take it


class ScheduleTerms(Payload):
    workflow: str
    version: int | None  # of the workflow; none: the newest one, whenever it fires
    input: dict[str, Any]
    priority: int
    cron: str | None
    time_zone: str | None  # that the cron expression is of
    every_seconds: int | None
    anchor_at: datetime  # what the seconds count from
    overlap: Overlap
    catch_up: CatchUp
    catch_up_seconds: int | None  # how old a firing that is made up for may be
    jitter_seconds: int
    next_at: datetime | None
    by: str | None = None


@event("schedule.created")
class ScheduleCreated(ScheduleTerms):
    pass


@event("schedule.changed")
class ScheduleChanged(ScheduleTerms):
    """These are its terms from now on."""


@event("schedule.fired")
class ScheduleFired(Payload):
    """The job is promised by this: whoever finds that there is none yet starts it."""

    at: datetime  # the time that the schedule has named
    job_id: UUID
    version: int  # of the workflow
    next_at: datetime | None


@event("schedule.skipped")
class ScheduleSkipped(Payload):
    at: datetime
    until: datetime  # the last one, if several were skipped at once
    reason: SkipReason
    detail: str | None = None
    next_at: datetime | None


@event("schedule.paused")
class SchedulePaused(Payload):
    by: str | None = None


@event("schedule.resumed")
class ScheduleResumed(Payload):
    next_at: datetime | None
    by: str | None = None


@event("schedule.deleted")
class ScheduleDeleted(Payload):
    by: str | None = None
