"""What must be true when all is over, whatever happened: of the log, of what was promised, and of what is left."""

import asyncio
import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import aiohttp
import asyncpg
import msgspec

from chaos.audience import TENANT
from chaos.load import ITEMS, Promise
from deploy.stack import Stack

_ENDS = {"job.completed": "COMPLETED", "job.failed": "FAILED", "job.cancelled": "CANCELLED"}
_PROJECTIONS = (
    "processor.jobs ORDER BY tenant, id",
    "processor.steps ORDER BY tenant, job_id, step, item",
    "processor.workflows ORDER BY 1, 2, 3",
    "processor.schedules ORDER BY 1, 2",
)
# What may be open for a while, and must not be for ever.
_OPEN = {
    "ingest.outbox": "what ingest has to tell the log",
    "gateway.outbox": "what the gateway has to tell the log",
    "processor.queue": "jobs that wait for a worker",
    "processor.dead_letters": "messages that could not be handled",
    "ingest.segments": "pieces of files that are whole",
}
_LEFT_SECONDS = 60.0
_SAID_AGAIN = 40

Stream = list[dict[str, Any]]


async def judged(stack: Stack, promises: Sequence[Promise], *, probes: int, after: int) -> str:
    """How much was kept of what was promised `after` a position of the log. Raises what is wrong."""
    await _nobody_has_given_up(stack)
    log = await asyncpg.connect(stack.postgres_url("owner"))
    try:
        await _nothing_is_left(log)
        streams = await _dense(log)
        jobs = {
            name: events
            for (tenant, name), events in streams.items()
            if tenant == TENANT and name.startswith("job:") and events[0]["position"] > after
        }
        _ended_once(jobs)
        _made_once(jobs, promises, probes)
        for promise in promises:
            _kept(jobs[f"job:{promise.seen.job_id}"], promise)
        await _bytes_are_there(log, stack, promises, streams)
        await _same_when_made_anew(log)
    finally:
        await log.close()
    await _same_when_said_again(promises)
    kinds = Counter(promise.kind for promise in promises)
    kept = ", ".join(f"{count} {kind}s" for kind, count in sorted(kinds.items()))
    return f"{kept} kept in {sum(map(len, streams.values()))} events of the log"


async def _nobody_has_given_up(stack: Stack) -> None:
    """No process has a loop that does not run any more."""
    async with aiohttp.ClientSession(headers={"X-API-Key": stack.admin_key}) as session:
        for process in stack.processes:
            async with session.get(f"{stack.url(process)}/statusz") as answer:
                halted = (await answer.json())["halted_loops"]
                assert halted == [], f"{process} does without {halted}"


async def _dense(log: asyncpg.Connection) -> dict[tuple[str, str], Stream]:
    """Positions and versions are 1, 2, 3 with no hole, and the tables that count them agree."""
    rows = await log.fetch("SELECT position, tenant, stream, version, type, data FROM events.events ORDER BY position")
    assert [row["position"] for row in rows] == list(range(1, len(rows) + 1)), "a hole in the log"
    assert await log.fetchval("SELECT position FROM events.head") == len(rows)
    assert await log.fetchval("SELECT count(*) FROM events.event_ids") == len(rows)
    streams: dict[tuple[str, str], Stream] = defaultdict(list)
    for row in rows:
        streams[row["tenant"], row["stream"]].append({**row, "data": msgspec.json.decode(row["data"])})
    for name, events in streams.items():
        assert [event["version"] for event in events] == list(range(1, len(events) + 1)), f"a hole in {name}"
    known = await log.fetch("SELECT tenant, stream, version FROM events.streams WHERE version > 0")
    assert {(row["tenant"], row["stream"]): row["version"] for row in known} == {n: len(e) for n, e in streams.items()}
    return streams


def _ended_once(jobs: dict[str, Stream]) -> None:
    for name, events in jobs.items():
        types = Counter(event["type"] for event in events)
        ends = sum(types[end] for end in _ENDS)
        assert (types["job.created"], ends) == (1, 1), f"{name} was not made or did not end once: {_told(events)}"
        changes = [
            (change["step"], change.get("item"))
            for event in events
            for change in event["data"].get("changes", [])
            if change["became"] in ("COMPLETED", "FAILED", "CANCELLED")
        ]
        assert len(changes) == len(set(changes)), f"a step of {name} ended twice: {_told(events)}"


def _made_once(jobs: dict[str, Stream], promises: Sequence[Promise], probes: int) -> None:
    promised = [f"job:{promise.seen.job_id}" for promise in promises]
    assert len(set(promised)) == len(promised), "two promises, one job"
    assert set(promised) <= jobs.keys(), f"never made: {set(promised) - jobs.keys()}"
    unasked = jobs.keys() - set(promised)
    assert len(unasked) == probes, f"{len(unasked)} jobs besides those of {probes} probes: {sorted(unasked)}"


def _kept(events: Stream, promise: Promise) -> None:
    name = f"job:{promise.seen.job_id} of a {promise.kind}"
    assert promise.seen.versions == [event["version"] for event in events], f"its client has not seen all of {name}"
    (end,) = [event for event in events if event["type"] in _ENDS]
    assert _ENDS[end["type"]] in promise.ends, f"{name} has not ended as {promise.ends}: {_told(events)}"
    if promise.kind == "command" and end["type"] == "job.completed":
        emitted = [event["data"]["data"] for event in events if event["type"] == "job.emitted"]
        assert sorted(said["item"] for said in emitted if "item" in said) == list(range(ITEMS)), _told(events)
        assert emitted[-1:] == [{"last": True}], _told(events)
        assert len(emitted) == ITEMS + 1, _told(events)


async def _bytes_are_there(
    log: asyncpg.Connection, stack: Stack, promises: Sequence[Promise], streams: dict[tuple[str, str], Stream]
) -> None:
    files = {promise.upload_id: promise for promise in promises if promise.upload_id is not None}
    rows = {str(row["id"]): row for row in await log.fetch("SELECT id, sha256, job_id FROM ingest.uploads")}
    for upload_id, promise in files.items():
        assert rows[upload_id]["sha256"] == promise.sha256
        assert str(rows[upload_id]["job_id"]) == promise.seen.job_id
        blob = stack.logs.parent / "blobs" / "uploads" / TENANT / upload_id
        found = await asyncio.to_thread(blob.read_bytes)
        assert hashlib.sha256(found).hexdigest() == promise.sha256, f"other bytes in {blob}"
        types = [event["type"] for event in streams[TENANT, f"upload:{upload_id}"]]
        assert types.count("upload.completed") == 1, types


async def _same_when_made_anew(log: asyncpg.Connection) -> None:
    before = [await log.fetch(f"SELECT * FROM {table}") for table in _PROJECTIONS]
    await log.execute("SELECT processor.rebuild()")
    after = [await log.fetch(f"SELECT * FROM {table}") for table in _PROJECTIONS]
    for table, kept, made in zip(_PROJECTIONS, before, after, strict=True):
        differing = [(dict(a), dict(b)) for a, b in zip(kept, made, strict=False) if a != b]
        assert len(kept) == len(made), f"{table}: {len(kept)} rows, and {len(made)} when made anew"
        assert not differing, f"{table} differs from what the log makes of it: {differing[:3]}"


async def _same_when_said_again(promises: Sequence[Promise]) -> None:
    """Long after, who comes with a key that we know gets the first answer."""
    for promise in [promise for promise in promises if promise.again is not None][:_SAID_AGAIN]:
        assert promise.again is not None
        answer = await promise.again()
        assert answer.get("job_id", answer.get("id")) == promise.seen.job_id


async def _nothing_is_left(log: asyncpg.Connection) -> None:
    async def left() -> dict[str, int]:
        counts = {told: await log.fetchval(f"SELECT count(*) FROM {table}") for table, told in _OPEN.items()}
        return {told: count for told, count in counts.items() if count}

    clock = asyncio.get_running_loop()
    until = clock.time() + _LEFT_SECONDS
    while still := await left():
        assert clock.time() < until, f"left for ever: {still}"
        await asyncio.sleep(0.05)


def _told(events: Stream) -> str:
    return "\n".join(f"{event['version']} {event['type']} {event['data']}" for event in events)
