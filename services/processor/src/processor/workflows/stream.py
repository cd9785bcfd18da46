"""A job's stream: what happened so far, and what its holder adds, each at exactly the version that it was decided
on."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import cast
from uuid import UUID

from events.catalog import CATALOG
from events.envelope import Event, RecordedEvent, event_of, stream_name
from events.errors import Fenced
from events.ids import derived_id
from events.jobs import JobEvent, JobSignalled
from events.log.append import Appended, Appender, AppendRequest, Duplicate
from events.log.log import EventLog
from events.telemetry import current_traceparent

SOURCE = "/millrace/processor"
_PAGE = 500


def heard_id(message: UUID) -> UUID:
    """Of the event that says that a job has heard a signal: whoever knows the message finds it."""
    return derived_id(message, JobSignalled.event_type)


class UnknownEvent(Exception):
    """Another release has written it, and can read it."""


def payload_of(event: RecordedEvent) -> JobEvent:
    if event.type not in CATALOG:
        raise UnknownEvent(f"This release knows no events of the type {event.type}.")
    return cast(JobEvent, CATALOG[event.type].model_validate_json(bytes(event.data)))


async def read_job(log: EventLog, tenant: str, id_: UUID) -> list[RecordedEvent]:
    """All that has happened to a job."""
    stream = stream_name("job", id_)
    found: list[RecordedEvent] = []
    while True:
        page = await log.read_stream(tenant, stream, len(found), _PAGE)
        found += page
        if len(page) < _PAGE:
            return found


class JobStream:
    """One worker's hold on a job. If anybody else has moved it, the next `append` raises `Fenced`."""

    def __init__(self, appender: Appender, tenant: str, id_: UUID, version: int) -> None:
        self._appender = appender
        self._name = stream_name("job", id_)
        self.tenant = tenant
        self.id = id_
        self.version = version
        self.traceparent = current_traceparent()  # of the work that this hold is for

    async def append(self, payloads: Sequence[JobEvent], time: datetime) -> None:
        events: list[Event] = []
        for payload in payloads:
            if events:
                await asyncio.sleep(0)  # each may be long, so that others have their turn in between
            events.append(self._event(payload, time))
        outcome = await self._appender.append(AppendRequest(self.tenant, self._name, tuple(events), self.version))
        if not isinstance(outcome, Appended | Duplicate):
            raise Fenced(f"Somebody else has moved {self._name}: {outcome}.")
        self.version = outcome.version

    def _event(self, payload: JobEvent, time: datetime) -> Event:
        return event_of(
            payload,
            id=heard_id(payload.message) if isinstance(payload, JobSignalled) else None,
            stream=self._name,
            tenant=self.tenant,
            source=SOURCE,
            time=time,
            traceparent=self.traceparent,
        )
