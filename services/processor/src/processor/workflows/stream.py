"""A job on its way: moved by commands, each recorded at exactly the version that it was decided on."""

import json
from typing import Any, Self
from uuid import UUID

from events.append import Appended, Appender, AppendRequest, Duplicate
from events.database import Pool, load_queries
from events.envelope import new_event, stream_name
from events.errors import Fenced
from events.jobs import JobStatus
from events.telemetry import current_traceparent
from processor.workflows.engine import Command, Job, decide, evolve

SOURCE = "/millrace/processor"


class JobStream:
    """One worker's hold on a job. If anybody else has moved it, the next `tell` raises `Fenced`."""

    def __init__(
        self, appender: Appender, tenant: str, id_: UUID, workflow: str, input_: dict[str, Any], version: int, job: Job
    ) -> None:
        self._appender = appender
        self._version = version
        self.tenant = tenant
        self.id = id_
        self.workflow = workflow
        self.input = input_
        self.job = job

    @classmethod
    async def load(cls, pool: Pool, appender: Appender, tenant: str, id_: UUID) -> Self:
        """From the projection, which is never behind the log."""
        row = await pool.fetchrow(load_queries("processor", "workflows/queries.sql")["job_to_move"], tenant, id_)
        assert row is not None
        job = Job(JobStatus(row["status"]), row["progress_percent"], row["current_step"], row["step_message"])
        return cls(appender, tenant, id_, row["workflow"], json.loads(row["input"]), row["version"], job)

    async def tell(self, command: Command) -> None:
        """Record what the command leads to, if anything."""
        payload = decide(self.job, command)
        if payload is None:
            return
        stream = stream_name("job", self.id)
        event = new_event(
            type=payload.event_type,
            stream=stream,
            tenant=self.tenant,
            source=SOURCE,
            data=payload.encode(),
            traceparent=current_traceparent(),
        )
        outcome = await self._appender.append(AppendRequest(self.tenant, stream, (event,), self._version))
        if not isinstance(outcome, Appended | Duplicate):
            raise Fenced(f"Somebody else has moved {stream}: {outcome}.")
        self._version = outcome.version
        self.job = evolve(self.job, payload)
