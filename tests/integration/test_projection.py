"""Projections are folds of the log: PostgreSQL makes of it what the engine's own fold makes of it, and whenever they
are made anew, their rows are the same."""

import random
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest

from deploy.provision import Database
from events.envelope import Event, new_event, stream_name
from events.ids import new_id
from events.jobs import JobEvent, StepStatus
from events.log.batch import AppendRequest
from fixtures.engine import Driven
from fixtures.engine_documents import Dice
from fixtures.engine_world import World, live
from fixtures.log import TENANT, as_owner, open_log
from processor.language.definition import JOB
from processor.projections import rebuild
from processor.workflows.state import JobState

_JOBS = "SELECT * FROM processor.jobs ORDER BY tenant, id"
_STEPS = "SELECT * FROM processor.steps ORDER BY tenant, job_id, step, item"


@dataclass
class Life:
    """A job that has been lived, and what is not in the log yet of it."""

    id: UUID
    job: Driven
    events: list[Event]


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_what_the_database_knows_of_random_jobs_is_what_their_log_says(database: Database, seed: int) -> None:
    dice = random.Random(seed)
    lives = [_life(dice.randrange(10**9)) for _ in range(60)]
    async with open_log(database, function="processor.append") as opened, as_owner(database) as owner:
        while unsaid := [life for life in lives if life.events]:
            # Several jobs advance in one statement, some by several events.
            chosen = dice.sample(unsaid, min(len(unsaid), dice.randint(1, 10)))
            await opened.appender.append_all([_request(life, dice.randint(1, 4)) for life in chosen])
        await _assert_as_folded(owner, lives)
        jobs, steps = await _rows(owner)
        replayed = await rebuild(opened.pool)
        assert replayed == (await opened.log.head()).position
        assert await _rows(owner) == (jobs, steps)
        for chunk in (1, 7):  # however the log is cut
            await owner.execute("SELECT processor.rebuild($1)", chunk)
            assert await _rows(owner) == (jobs, steps)


async def test_a_rebuild_mends_rows_that_were_tampered_with(database: Database) -> None:
    lives = [_life(seed) for seed in range(20)]
    async with open_log(database, function="processor.append") as opened, as_owner(database) as owner:
        await opened.appender.append_all([_request(life, len(life.events)) for life in lives])
        before = await _rows(owner)
        await owner.execute("UPDATE processor.jobs SET status = 'PENDING', progress_percent = 3, result = NULL")
        await owner.execute("UPDATE processor.steps SET status = 'RUNNING', child = NULL")
        await owner.execute("DELETE FROM processor.steps WHERE item = 0")
        assert await _rows(owner) != before
        await rebuild(opened.pool)
        assert await _rows(owner) == before


def _life(seed: int) -> Life:
    """Of a job that has ended, or is in the middle of it."""
    if seed % 3:
        job = live(Dice(seed), moves=40).job
    else:
        dice = Dice(seed)
        world = World(dice)
        for _ in range(15):
            dice.of(world.moves)()
        job = world.job
    id_ = new_id()
    said = [(job.created, job.now), *job.log]
    return Life(id_, job, [_event(id_, payload, time) for payload, time in said])


def _event(id_: UUID, payload: JobEvent, time: Any) -> Event:
    return new_event(
        type=payload.event_type,
        stream=stream_name("job", id_),
        tenant=TENANT,
        source="/test",
        data=payload.encode(),
        time=time,
    )


def _request(life: Life, length: int) -> AppendRequest:
    events, life.events = life.events[:length], life.events[length:]
    return AppendRequest(TENANT, stream_name("job", life.id), tuple(events))


async def _rows(owner: asyncpg.Connection) -> tuple[list[Any], list[Any]]:
    return [tuple(row) for row in await owner.fetch(_JOBS)], [tuple(row) for row in await owner.fetch(_STEPS)]


async def _assert_as_folded(owner: asyncpg.Connection, lives: list[Life]) -> None:
    jobs = {row["id"]: row for row in await owner.fetch(_JOBS)}
    steps: dict[UUID, dict[Any, Any]] = {life.id: {} for life in lives}
    for row in await owner.fetch(_STEPS):
        steps[row["job_id"]][row["step"], row["item"]] = row
    assert jobs.keys() == steps.keys()
    for life in lives:
        _assert_job(jobs[life.id], life.job)
        _assert_steps(steps[life.id], life.job.folded())


def _assert_job(row: Any, job: Driven) -> None:
    state = job.folded()
    assert (row["status"], row["sub_status"]) == (state.status, state.sub_status)
    assert (row["progress_percent"], row["current_step"]) == (state.progress_percent, state.current_step)
    assert row["step_message"] == state.step_message
    assert row["version"] == len(job.log) + 1
    assert row["attempts"] == sum(event.event_type in ("job.started", "job.claimed") for event, _ in job.log)
    assert row["started_at"] == state.started_at
    assert (row["finished_at"] is not None) == state.status.terminal
    last = job.log[-1][0] if job.log else job.created
    assert _read(row["result"]) == getattr(last, "result", None)
    failed = state.outcome is not None and state.status.terminal
    assert _read(row["error"]) == (state.outcome.model_dump() if failed and state.outcome else None)


def _assert_steps(rows: dict[Any, Any], state: JobState) -> None:
    """An item that only runs has no row: it is not worth a word of the log."""
    found = {key: row for key, row in rows.items() if key[0] != JOB}
    expected = {
        (name, -1 if item is None else item): node
        for (name, item), node in state.nodes.items()
        if item is None or (name, item) not in state.running or (name, item) in _said(found)
    }
    assert found.keys() == expected.keys()
    for key, node in expected.items():
        row = found[key]
        assert (row["status"], row["attempt"], row["child"]) == (node.status, node.attempt, node.child), key
        assert row["due_at"] == node.due_at
        assert _read(row["error"]) == node.error
        assert _read(row["output"]) == (node.blob if node.blob is not None else node.output)
        assert (_read(row["artifacts"]) or ()) == node.artifacts
        assert row["items"] == (None if node.map is None else node.map.count)
        over = node.status not in (StepStatus.RUNNING, StepStatus.WAITING, StepStatus.RETRYING)
        assert (row["finished_at"] is not None) == over


def _said(rows: dict[Any, Any]) -> set[Any]:
    return {(step, None if item < 0 else item) for step, item in rows}


def _read(json: str | None) -> Any:
    return None if json is None else msgspec.json.decode(json)
