"""What has happened to a job so far, read into its state by whoever has taken it."""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from events.envelope import RecordedEvent, stream_name
from events.errors import NotFound
from events.jobs import Change, JobCreated, KeptBlob
from events.lifecycle import Parts
from events.log.log import EventLog
from processor.queue import Lease
from processor.turns import Turns
from processor.workflows.fold import begin, evolve
from processor.workflows.library import NOTHING, Library
from processor.workflows.reuse import reusable
from processor.workflows.state import JobState
from processor.workflows.stream import payload_of, read_job

# Some milliseconds, even if each says as much as an event may.
_EVENTS_IN_A_ROW = 10


class History:
    def __init__(self, parts: Parts, library: Library, turns: Turns) -> None:
        self._log = EventLog(parts.pool)
        self._blobs = parts.blobs
        self._library = library
        self._turns = turns

    async def read(self, lease: Lease) -> tuple[JobState, int]:
        """The job as its events made it, and its version."""
        if lease.created is not None and lease.version == 1:
            created = JobCreated.model_validate_json(lease.created)
            return await self._new(lease, created), 1
        events = await read_job(self._log, lease.tenant, lease.job_id)
        if not events:
            raise NotFound(f"There is no {stream_name('job', lease.job_id)}.")
        first = payload_of(events[0])
        assert isinstance(first, JobCreated)
        state = await self._new(lease, first)
        await self._turns.through(_replay(state, events[1:]), lease.job_id)
        return state, events[-1].version

    async def load_outputs(self, state: JobState) -> bool:
        """Those that are too large for the log, and that an expression may read. False if one is not there any more."""
        return await self._load(state, [(key[0], node.blob) for key, node in state.nodes.items()])

    async def reusable(self, lease: Lease, state: JobState) -> Sequence[Change]:
        """What the job that this one retries had finished."""
        former_id = state.created.retry_of
        assert former_id is not None
        events = await read_job(self._log, lease.tenant, former_id)
        former = begin(state.plan, lease.tenant, former_id, state.created)
        await self._turns.through(_replay(former, events[1:]), lease.job_id)
        async with self._turns.turn(lease.job_id):
            reused = reusable(former)
        there = await self._load(state, [(change["step"], change.get("blob")) for change in reused])
        return reused if there else []

    async def _new(self, lease: Lease, created: JobCreated) -> JobState:
        edition = await self._library.edition(lease.tenant, created.workflow, created.version)
        return begin(NOTHING if edition is None else edition.plan, lease.tenant, lease.job_id, created)

    async def _load(self, state: JobState, kept: Iterable[tuple[str, KeptBlob | None]]) -> bool:
        complete = True
        for step, blob in kept:
            if blob is not None and step in state.plan.read:
                try:
                    body = await self._blobs.get(blob["blob"])
                except NotFound:
                    state.loaded[blob["blob"]] = None
                    complete = False
                    continue
                async with self._turns.turn(state.id):
                    state.loaded[blob["blob"]] = msgspec.json.decode(body)
        return complete


def _replay(state: JobState, events: Sequence[RecordedEvent]) -> Iterator[None]:
    for number, event in enumerate(events, start=1):
        evolve(state, payload_of(event), event.time)
        if number % _EVENTS_IN_A_ROW == 0:
            yield
