"""How fast jobs and their steps go, beside DBOS and procrastinate on the same PostgreSQL, one after the other.

DBOS has steps as we have; procrastinate has jobs only. Each peer is one process, as our processor is, and is tuned as
its program says (peers/). All figures with a peer's name are that peer's at the same task, with these differences:

- `jobs_per_s` takes jobs that were enqueued before; what enqueuing takes is in `…_enqueued_per_s`, `…_deferred_per_s`.
- `map10k_s`: steps that DBOS gathers in one workflow, which is its faster way; `dbos_map10k_by_queue_s` is the one that
  its documentation recommends. Both are scaled from fewer items, as the settings say. For procrastinate: 10,000 jobs.
- `start_…`: of DBOS a workflow that is started in the same process, which needs no queue; `dbos_queue_start_…` is a
  workflow that any process may take, by polling every 10 ms instead of its default, 1 s.
- `second_tenant_ms`: of DBOS with a queue that is partitioned by tenants; procrastinate has no fairness.

`commits_per_s` is what PostgreSQL gives one connection that commits one row at a time: the next step of a chain cannot
start before a commit, so this bounds it.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from time import perf_counter
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from bench.peers import programs
from bench.report import Aim, Result
from bench.servers import open_database

Value = TypeVar("Value")

AIMS = {
    "steps_per_s": Aim(at_least=3_000),
    "over_dbos": Aim(at_least=5),
    "chain40_s": Aim(at_most=0.55),
}

JOBS, STEPS = 1_000, 10
ONE_STEP_JOBS = 2_000
CHAIN_STEPS, CHAIN_SECONDS = 40, 0.01
ITEMS = 10_000
SAMPLES = 200
BEHIND = 10_000
COMMIT_SECONDS = 3.0
REST_SECONDS = 2.0  # between two contenders, for what the server still has to write

# What the programs and we call the same thing.
_NAMES = {"chain_s": "chain40_s", "map_s": "map10k_s", "map_by_queue_s": "map10k_by_queue_s"}


async def run() -> Result:
    await programs.install()
    async with open_database() as database:
        settings = await _settings(database.admin_url)
        async with _other_database(database.admin_url, "floor") as url:
            commits = await _commits_per_s(url)
        ours = await programs.millrace(
            database.url("processor"),
            jobs=JOBS,
            steps=STEPS,
            one_step_jobs=ONE_STEP_JOBS,
            chain_steps=CHAIN_STEPS,
            chain_seconds=CHAIN_SECONDS,
            items=ITEMS,
            samples=SAMPLES,
            behind=BEHIND,
        )
        await asyncio.sleep(REST_SECONDS)
        async with _other_database(database.admin_url, "dbos") as url:
            dbos = await programs.dbos(
                url,
                jobs=JOBS,
                steps=STEPS,
                chain_steps=CHAIN_STEPS,
                chain_seconds=CHAIN_SECONDS,
                items=ITEMS,
                samples=SAMPLES,
                behind=BEHIND,
            )
        await asyncio.sleep(REST_SECONDS)
        async with _other_database(database.admin_url, "procrastinate") as url:
            procrastinate = await programs.procrastinate(
                url, jobs=ONE_STEP_JOBS, items=ITEMS, samples=SAMPLES, behind=BEHIND
            )
    return Result(
        "engine",
        {
            **settings,
            "jobs": JOBS,
            "steps": STEPS,
            "jobs of one step": ONE_STEP_JOBS,
            **_named("dbos", dbos.settings, " "),
            **_named("procrastinate", procrastinate.settings, " "),
        },
        {
            **{_NAMES.get(name, name): value for name, value in ours.figures.items()},
            "over_dbos": ours.figures["steps_per_s"] / dbos.figures["steps_per_s"],
            "over_procrastinate": ours.figures["jobs_per_s"] / procrastinate.figures["jobs_per_s"],
            **_named("dbos", dbos.figures, "_"),
            **_named("procrastinate", procrastinate.figures, "_"),
            "commits_per_s": commits,
        },
    )


def _named(peer: str, found: Mapping[str, Value], joint: str) -> dict[str, Value]:
    return {f"{peer}{joint}{_NAMES.get(name, name)}": value for name, value in found.items()}


@asynccontextmanager
async def _other_database(admin_url: str, name: str) -> AsyncIterator[str]:
    """The superuser's URL of an empty database on the same server, which is dropped at the end."""
    connection = await asyncpg.connect(admin_url)
    try:
        await connection.execute(f'CREATE DATABASE "{name}"')
        yield urlunsplit(urlsplit(admin_url)._replace(path=f"/{name}"))
    finally:
        await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        await connection.execute("CHECKPOINT")
        await connection.close()


async def _settings(admin_url: str) -> dict[str, str]:
    connection = await asyncpg.connect(admin_url)
    names = {"postgres": "server_version", "fsync": "fsync", "synchronous_commit": "synchronous_commit"}
    found = {said: await connection.fetchval("SELECT current_setting($1)", setting) for said, setting in names.items()}
    await connection.close()
    return found


async def _commits_per_s(url: str) -> float:
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE floor (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, data text)")
    insert = await connection.prepare("INSERT INTO floor (data) VALUES ($1)")
    commits = 0
    began = perf_counter()
    while perf_counter() < began + COMMIT_SECONDS:
        await insert.fetch("x" * 200)
        commits += 1
    per_s = commits / (perf_counter() - began)
    await connection.close()
    return per_s
