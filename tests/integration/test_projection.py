"""A projection is a fold of the log: made anew from it, its rows are the same."""

import random

from deploy.provision import Database
from events.batch import AppendRequest
from events.envelope import new_event, stream_name
from events.ids import new_id
from events.jobs import JobError, JobEvent
from fixtures.log import TENANT, as_owner, open_log
from processor.projections import rebuild
from processor.workflows.engine import Claim, Command, Complete, Create, Fail, Job, Progress, decide, evolve

_ROWS = "SELECT * FROM processor.jobs ORDER BY tenant, id"


async def test_random_jobs_rebuilt_from_the_log_are_the_same_rows(database: Database) -> None:
    dice = random.Random(7)
    async with open_log(database, function="processor.append") as opened, as_owner(database) as owner:
        lives = [_life(dice) for _ in range(60)]
        while lives:
            # Several jobs advance in one statement, some by several events.
            chosen = dice.sample(lives, min(len(lives), dice.randint(1, 10)))
            requests = [life.pop(0) for life in chosen]
            await opened.appender.append_all(requests)
            lives = [life for life in lives if life]
        before = [tuple(row) for row in await owner.fetch(_ROWS)]
        replayed = await rebuild(opened.pool)
        after = [tuple(row) for row in await owner.fetch(_ROWS)]
        head = await opened.log.head()
    assert len(before) == 60
    assert after == before
    assert replayed == head.position


async def test_a_rebuild_mends_rows_that_were_tampered_with(database: Database) -> None:
    async with open_log(database, function="processor.append") as opened, as_owner(database) as owner:
        for request in _life(random.Random(1)):
            await opened.appender.append(request)
        before = [tuple(row) for row in await owner.fetch(_ROWS)]
        await owner.execute("UPDATE processor.jobs SET status = 'PENDING', progress_percent = 3, result = NULL")
        assert [tuple(row) for row in await owner.fetch(_ROWS)] != before
        await rebuild(opened.pool)
        assert [tuple(row) for row in await owner.fetch(_ROWS)] == before


def _life(dice: random.Random) -> list[AppendRequest]:
    """A job's events, as the engine decides them, cut into requests of random length."""
    commands: list[Command] = [Create("csv-profile", {"blob": "b\x00 with a NUL"}), Claim("csv-profile")]
    commands += [Progress(dice.randint(0, 99), f"at {n}") for n in range(dice.randint(0, 6))]
    if dice.random() < 0.3:
        commands.append(Claim("csv-profile"))
    commands.append(
        Complete({"rows": dice.randint(0, 9)}) if dice.random() < 0.7 else Fail(JobError(code="not_csv", detail="No."))
    )
    job: Job | None = None
    payloads: list[JobEvent] = []
    for command in commands:
        if (payload := decide(job, command)) is not None:
            job = evolve(job, payload)
            payloads.append(payload)
    stream = stream_name("job", new_id())
    events = [
        new_event(type=payload.event_type, stream=stream, tenant=TENANT, source="/test", data=payload.encode())
        for payload in payloads
    ]
    requests = []
    while events:
        length = dice.randint(1, 3)
        requests.append(AppendRequest(TENANT, stream, tuple(events[:length])))
        events = events[length:]
    return requests
