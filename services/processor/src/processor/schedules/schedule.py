"""A schedule as its projection has it, and what it says to its stream."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from events.catalog import Payload
from events.envelope import event_of, stream_name
from events.ids import derived_id
from events.log.append import AppendRequest
from events.schedules import CatchUp, Overlap, ScheduleTerms, SkipReason
from events.telemetry import current_traceparent
from processor.schedules.cron import Cron, zone
from processor.schedules.timing import Every, Timing
from processor.workflows.stream import SOURCE

_BELOW_TIME = (1 << 80) - 1


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    workflow: str
    version: int | None = None  # of the workflow; none: the newest one, whenever it fires
    input: msgspec.Raw
    priority: int = 0
    cron: str | None = None
    time_zone: str | None = None
    every_seconds: int | None = None
    overlap: Overlap = Overlap.SKIP
    catch_up: CatchUp = CatchUp.LATEST
    catch_up_seconds: int | None = None
    jitter_seconds: int = 0
    next_at: datetime | None = None  # none while it is paused
    paused_at: datetime | None = None
    last_at: datetime | None = None  # the time that it has last started a job for
    last_job_id: UUID | None = None
    skipped_at: datetime | None = None  # the last time that it has not
    skipped_because: SkipReason | None = None
    created_at: datetime
    created_by: str | None = None
    updated_at: datetime


_OF_VIEW = ScheduleTerms.model_fields.keys() - {"input", "anchor_at", "by"}


class Known(msgspec.Struct, frozen=True):
    """A schedule, and what only we need to know of it."""

    tenant: str
    view: Schedule
    stream_version: int
    anchor_at: datetime
    starting: UUID | None  # its last job, until there is one
    last_version: int | None  # of the workflow, then

    @property
    def id(self) -> UUID:
        return self.view.id

    @property
    def timing(self) -> Timing:
        return timing_of(self.view.cron, self.view.time_zone, self.view.every_seconds, self.anchor_at)

    @property
    def terms(self) -> ScheduleTerms:
        of_view = {name: getattr(self.view, name) for name in _OF_VIEW}
        return ScheduleTerms(**of_view, input=self.input, anchor_at=self.anchor_at)

    @property
    def input(self) -> dict[str, Any]:
        given: dict[str, Any] = msgspec.json.decode(self.view.input)
        return given

    def request(self, payload: Payload, time: datetime, *, id_: UUID | None = None) -> AppendRequest:
        """Only if nothing else has been said since."""
        return said_of(self.tenant, self.id, payload, time, expected=self.stream_version, id_=id_)


def known_of(row: asyncpg.Record) -> Known:
    fields: Mapping[str, Any] = dict(row)
    view = {name: fields[name] for name in Schedule.__struct_fields__ if name in fields}
    because = fields["skipped_because"]
    view |= {
        "version": fields["workflow_version"],
        "input": msgspec.Raw(fields["input"].encode()),
        "overlap": Overlap(fields["overlap"]),
        "catch_up": CatchUp(fields["catch_up"]),
        "skipped_because": None if because is None else SkipReason(because),
    }
    return Known(
        tenant=fields["tenant"],
        view=Schedule(**view),
        stream_version=fields["version"],
        anchor_at=fields["anchor_at"],
        starting=fields["starting"],
        last_version=fields["last_version"],
    )


def timing_of(cron: str | None, time_zone: str | None, every_seconds: int | None, anchor_at: datetime) -> Timing:
    if every_seconds is not None:
        return Every(every_seconds, anchor_at)
    assert cron is not None
    assert time_zone is not None
    rules = zone(time_zone)
    assert rules is not None, "zones were checked, and none is ever removed"
    return Cron.parse(cron, rules)


def job_id_of(schedule_id: UUID, at: datetime) -> UUID:
    """The one job of a firing. It sorts by the time that was fired for."""
    milliseconds = int(at.timestamp() * 1000)
    return derived_id(UUID(int=(milliseconds << 80) | (schedule_id.int & _BELOW_TIME)), "job")


def said_of(
    tenant: str, id_of_schedule: UUID, payload: Payload, time: datetime, *, expected: int, id_: UUID | None = None
) -> AppendRequest:
    stream = stream_name("schedule", id_of_schedule)
    event = event_of(
        payload, id=id_, stream=stream, tenant=tenant, source=SOURCE, time=time, traceparent=current_traceparent()
    )
    return AppendRequest(tenant, stream, (event,), expected)
