"""`millrace jobs`: of all tenants, by the database alone, so that it works while services are down."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

import click
import msgspec

from deploy.options import Number, as_json, limit, on_a_loop
from deploy.printing import age, note, print_facts, print_json, print_table, show
from deploy.target import find_target, open_owner_pool
from events.database import Pool, load_queries
from events.envelope import stream_name
from events.errors import NotFound, Unavailable
from events.jobs import JobStatus
from events.log.append import Appender
from events.log.doorbell import Doorbell
from events.log.log import EventLog
from processor.queue import QUEUE_CHANNEL, Postbox
from processor.quota import JobQuota
from processor.workflows.control import Control, Said
from processor.workflows.jobs import Jobs
from processor.workflows.library import Library
from processor.workflows.start import Starter

_OPERATOR = Said("operator")


@click.group()
def jobs() -> None:
    """List jobs, look at one, cancel or retry it."""


_job = click.argument("job", type=click.UUID)
_tenant = click.option("--tenant", help="Whose it is. Finds it faster where there are many tenants.")


@jobs.command("list")
@click.option("--tenant", help="Only of this tenant. Otherwise of all.")
@click.option("--status", type=click.Choice([status.value for status in JobStatus], case_sensitive=False))
@click.option("--workflow", help="Only of this workflow.")
@click.option(
    "--stuck",
    type=Number(0, 1e9),
    metavar="SECONDS",
    help="Only unfinished ones that have not moved for so long.",
)
@limit
@as_json
@on_a_loop
async def list_(
    tenant: str | None, status: str | None, workflow: str | None, stuck: float | None, limit: int, as_json: bool
) -> None:
    """The newest first."""
    async with open_owner_pool(find_target(), size=1) as pool:
        query = load_queries("deploy", "operations.sql")["jobs"]
        found = [dict(row) for row in await pool.fetch(query, tenant, status, workflow, limit, stuck)]
    if not as_json:
        for row in found:
            row["progress"] = f"{row['progress_percent']}%"
            row["age"], row["moved"] = age(row["created_at"]), age(row["updated_at"])
            row["says"] = row["error"] or row["step_message"] or row["sub_status"]
    columns = ("id", "tenant", "workflow", "status", "progress", "age", "moved", "says")
    show(found, columns, as_json=as_json, nothing="There are no such jobs.")


@jobs.command("show")
@_job
@_tenant
@as_json
@on_a_loop
async def show_(job: UUID, tenant: str | None, as_json: bool) -> None:
    """A job with its steps, who works on it, and what it waits for."""
    async with _opened() as opened:
        tenant = await opened.tenant(job, tenant)
        found = await opened.jobs.one(tenant, job)
        try:
            whole = await opened.jobs.whole(tenant, found)
        except (NotFound, Unavailable) as away:  # its result is a blob
            note(f"The job's result is not to be had: {away.detail} MILLRACE_BLOBS_URL says where blobs are.")
            whole = await opened.jobs.whole(tenant, msgspec.structs.replace(found, result=None))
        held = await opened.pool.fetchrow(load_queries("deploy", "operations.sql")["held"], tenant, job)
    if as_json:
        plain = msgspec.json.decode(msgspec.json.encode(whole))
        print_json({"tenant": tenant, **plain, "queue": None if held is None else dict(held)})
        return
    facts = msgspec.structs.asdict(whole)
    steps, waits_for = facts.pop("steps"), facts.pop("waits_for")
    facts = {"id": facts.pop("id"), "tenant": tenant} | facts
    print_facts(
        {
            name: bytes(value).decode() if isinstance(value, msgspec.Raw) else value
            for name, value in facts.items()
            if value is not None
        }
        | ({} if held is None else {"worker": held["worker"], "lease_until": held["expires_at"]})
        | {f"waits_for_{one.kind}": one.detail for one in waits_for}
    )
    if steps:
        print()
        rows = [
            {
                "step": step.id,
                "status": step.status.value,
                "attempt": step.attempt,
                "items": "" if step.items is None else f"{step.items_completed} of {step.items}",
                "error": None if step.error is None else bytes(step.error).decode(),
            }
            for step in steps
        ]
        print_table(rows, ("step", "status", "attempt", "items", "error"))


@jobs.command()
@_job
@_tenant
@as_json
@on_a_loop
async def cancel(job: UUID, tenant: str | None, as_json: bool) -> None:
    """Ask a job to stop; what it has done is undone where its workflow says so."""
    async with _opened() as opened:
        await opened.control.say(await opened.tenant(job, tenant), job, "cancel", {}, _OPERATOR)
    _tell({"id": job, "told": "cancel"}, f"{job} is told to stop.", as_json=as_json)


@jobs.command()
@_job
@_tenant
@as_json
@on_a_loop
async def retry(job: UUID, tenant: str | None, as_json: bool) -> None:
    """Start a job again that has failed or was cancelled: a new one, that keeps what was finished."""
    async with _opened() as opened:
        new = await opened.control.retry(await opened.tenant(job, tenant), job, _OPERATOR)
    _tell({"id": new.id, "retry_of": job}, str(new.id), as_json=as_json)


def _tell(facts: dict[str, object], sentence: str, *, as_json: bool) -> None:
    if as_json:
        print_json(facts)
    else:
        click.echo(sentence)


@dataclass(frozen=True, slots=True)
class _Opened:
    pool: Pool
    jobs: Jobs
    control: Control

    async def tenant(self, job: UUID, tenant: str | None) -> str:
        query = load_queries("deploy", "operations.sql")["tenant_of_job"]
        found: str | None = await self.pool.fetchval(query, stream_name("job", job), tenant)
        if found is None:
            raise NotFound(f"There is no job {job}." if tenant is None else f"{tenant} has no job {job}.")
        return found


@asynccontextmanager
async def _opened() -> AsyncIterator[_Opened]:
    """What the processor does for its callers, wired for one command."""
    target = find_target()
    async with (
        open_owner_pool(target) as pool,
        Doorbell(pool) as doorbell,
        Appender(pool, function="processor.append", doorbell=doorbell) as appender,
    ):
        library, postbox, quota = Library(pool), Postbox(pool), JobQuota(pool)
        jobs_ = Jobs(pool, target.blobs_if_told(), EventLog(pool), library, postbox)
        starter = Starter(pool, appender, library, postbox, quota)
        yield _Opened(pool, jobs_, Control(pool, starter, library, jobs_, postbox, quota, announce=lambda: None))
        await pool.execute("SELECT pg_notify($1, '')", QUEUE_CHANNEL)
