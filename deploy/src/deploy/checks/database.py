"""The database: whether it answers, is what this release expects, and holds what its log says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

import asyncpg

from deploy.checks.finding import Finding, State
from deploy.printing import age, reason, size
from deploy.provision import MEMBERSHIPS, ROLES, SCHEMAS
from deploy.target import WELL_FORMED
from events.blobs.blobs import Blobs
from events.database import database_gone, load_queries
from events.errors import MillraceError, NotFound
from events.migrate import revisions

_OLDEST = 150_000  # PostgreSQL's number: what the tests run on
_NEWEST_EVENTS = 20_000
_SKEW_WARN, _SKEW_WRONG = 1.0, 5.0  # seconds
_LAG_SECONDS = 30.0
_WRAPAROUND = 1_500_000_000  # of 2,100,000,000 transactions, after which PostgreSQL stops

Check = Callable[["Asked"], Awaitable[list[Finding]]]


class Asked:
    """The database that is asked."""

    def __init__(self, connection: asyncpg.Connection, blobs: Blobs | None) -> None:
        self.connection = connection
        self.blobs = blobs
        self._queries = load_queries("deploy", "checks/database.sql")

    async def rows(self, query: str, *arguments: object) -> list[Any]:
        return list(await self.connection.fetch(self._queries[query], *arguments, timeout=30))

    async def row(self, query: str, *arguments: object) -> Any:
        (found,) = await self.rows(query, *arguments)
        return found


async def check_database(url: str, blobs: Blobs | None) -> list[Finding]:
    """Each check by itself: what one cannot ask, the others may."""
    began = perf_counter()
    try:
        connection = await asyncpg.connect(url, timeout=5, server_settings={"application_name": "millrace-doctor"})
    except ValueError:
        return [Finding("database", "down", "MILLRACE_DATABASE_URL is no URL of a database", WELL_FORMED)]
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as refused:
        fix = "Start it, or correct MILLRACE_DATABASE_URL. Without it nothing is accepted; what was accepted is safe."
        return [Finding("database", "down", f"It does not let us in: {reason(refused)}", fix)]
    try:
        asked = Asked(connection, blobs)
        found = [Finding("database", "ok", f"It answers in {(perf_counter() - began) * 1000:.0f} ms.")]
        for name, check in CHECKS.items():
            async with _told(name, found):
                found += await asyncio.wait_for(check(asked), 60)
        return found
    finally:
        await connection.close(timeout=2)


@asynccontextmanager
async def _told(name: str, found: list[Finding]) -> AsyncIterator[None]:
    try:
        yield
    except asyncpg.InsufficientPrivilegeError as refused:
        fix = "Give MILLRACE_DATABASE_URL of millrace_owner to look at this, too."
        found.append(Finding(name, "skipped", f"This role may not look: {refused}", fix))
    except (
        asyncpg.UndefinedTableError,
        asyncpg.InvalidSchemaNameError,
        asyncpg.UndefinedFunctionError,
        asyncpg.UndefinedColumnError,
    ) as missing:
        found.append(Finding(name, "wrong", f"The schema lacks something: {missing}", "millrace migrate"))
    except Exception as error:
        if not database_gone(error):
            raise
        fix = "Look whether it is overloaded, or somebody holds a lock (pg_stat_activity)."
        found.append(Finding(name, "down", f"It did not answer: {reason(error)}", fix))


async def _server(asked: Asked) -> list[Finding]:
    server = await asked.row("server")
    says = f"PostgreSQL {server['version']}, as {server['role']}, {size(server['bytes'])}"
    found = [Finding("server", "ok", says)]
    if server["standby"]:
        fix = "Let MILLRACE_DATABASE_URL name the primary."
        found = [Finding("server", "wrong", f"{says}: a standby, nothing can be written", fix)]
    elif server["number"] < _OLDEST:
        found = [Finding("server", "warn", f"{says}: older than what we are tested with (15)", "Upgrade PostgreSQL.")]
    taken = f"{server['connections']} of {server['most_connections']} connections"
    if server["connections"] > 0.9 * server["most_connections"]:
        fix = "Raise max_connections, or lower MILLRACE_DATABASE_POOL_SIZE."
        found.append(Finding("connections", "warn", taken, fix))
    else:
        found.append(Finding("connections", "ok", taken))
    if server["age"] > _WRAPAROUND:
        fix = "Run VACUUM (FREEZE); look what keeps autovacuum from it."
        found.append(Finding("wraparound", "wrong", f"{server['age']} transactions old", fix))
    return found


async def _durable(asked: Asked) -> list[Finding]:
    off = {row["name"]: row["mend"] for row in await asked.rows("durable")}
    sees_all = (await asked.row("sees_all"))["sees_all"]
    found = [Finding("durability", "ok", "fsync, full_page_writes, synchronous_commit and autovacuum are on")]
    if off:
        mend = "; ".join([*off.values(), "SELECT pg_reload_conf()"])
        fix = f"{mend}. A power cut, or a failover, loses what was acknowledged."
        found = [Finding("durability", "wrong", f"{', '.join(off)} off", fix)]
    if not sees_all:
        fix = "millrace provision (or GRANT pg_read_all_stats TO millrace_owner) lets it."
        found.append(Finding("transactions", "skipped", "This role may not see those of others", fix))
    for row in await asked.rows("old_transactions"):
        fix = f"SELECT pg_terminate_backend({row['pid']}), if nobody needs it."
        says = f"One of {row['application_name'] or 'somebody'} is open for {row['seconds']} s"
        found.append(Finding("transactions", "warn", says, fix))
    return found


async def _clock(asked: Asked) -> list[Finding]:
    began = datetime.now(UTC)
    there = (await asked.row("clock"))[0]
    ended = datetime.now(UTC)
    skew = (there - (began + (ended - began) / 2)).total_seconds()
    state: State = "ok" if abs(skew) < _SKEW_WARN else "warn" if abs(skew) < _SKEW_WRONG else "wrong"
    fix = None if state == "ok" else "Run chrony or ntpd on both. Leases and limits go by the database's clock alone."
    return [Finding("clock", state, f"Ours and the database's are {abs(skew):.2f} s apart", fix)]


async def _migrations(asked: Asked) -> list[Finding]:
    there = {row["name"] for row in await asked.rows("schemas", list(SCHEMAS))}
    if missing := [schema for schema in SCHEMAS if schema not in there]:
        return [Finding("migrations", "wrong", f"There is no schema {', '.join(missing)}", "millrace migrate")]
    behind: list[str] = []
    unknown: list[str] = []
    for schema in SCHEMAS:
        revision = await asked.connection.fetchval(f'SELECT version_num FROM "{schema}".alembic_version')  # noqa: S608 - ours
        newest, *older = revisions(schema)
        if revision != newest:
            (behind if revision in older else unknown).append(f"{schema} {revision} (this release: {newest})")
    if unknown:
        fix = "Use the release that has migrated it."
        return [Finding("migrations", "wrong", f"Of another release, a newer one: {', '.join(unknown)}", fix)]
    if behind:
        return [Finding("migrations", "wrong", f"Behind: {', '.join(behind)}", "millrace migrate")]
    return [Finding("migrations", "ok", "Every schema is this release's")]


async def _grants(asked: Asked) -> list[Finding]:
    roles = {row["name"] for row in await asked.rows("roles")}
    if missing := [role for role in ROLES if f"millrace_{role}" not in roles]:
        return [Finding("grants", "wrong", f"There is no role millrace_{missing[0]}", "millrace provision")]
    pairs = [(f"millrace_{role}", group) for role, groups in MEMBERSHIPS.items() for group in groups]
    missing_pairs = await asked.rows("memberships", *map(list, zip(*pairs, strict=True)))
    wrong = [
        Finding("grants", "wrong", f"{row['member']} is no {row['group_']}", "millrace provision")
        for row in missing_pairs
    ]
    services = [f"millrace_{role}" for role in MEMBERSHIPS]
    for row in await asked.rows("strangers", services):
        says = f"{row['member']} may not connect to this database"
        wrong.append(Finding("grants", "wrong", says, "millrace provision"))
    for row in await asked.rows("grants", services, list(MEMBERSHIPS)):
        says = f"{row['member']} may not use its table {row['relation']}"
        wrong.append(Finding("grants", "wrong", says, "millrace migrate (it grants, too)"))
    for row in await asked.rows("log_grants"):
        says = f"{row['group_']} may not {row['privilege'].lower()} {row['thing']}"
        wrong.append(Finding("grants", "wrong", says, f"GRANT {row['privilege']} ON {row['thing']} TO {row['group_']}"))
    for row in await asked.rows("writers", services):
        says = f"{row['who']} may write {row['what']} past its functions"
        wrong.append(Finding("grants", "wrong", says, row["mend"]))
    return wrong or [Finding("grants", "ok", "Roles may do what they must, and write the log by its functions only")]


async def _log(asked: Asked) -> list[Finding]:
    log = await asked.row("newest", _NEWEST_EVENTS)
    found = [Finding("log", "ok", f"Head {log['head']}; no hole in its last {log['expected']} events")]
    if log["beyond"] or not log["expected"] == log["there"] == log["ids"]:
        says = (
            f"Of its last {log['expected']} events {log['there']} are there, {log['ids']} of them with their id, "
            f"and {log['beyond']} beyond the head {log['head']}"
        )
        fix = "Stop writers, `millrace log verify`, and restore a backup: this is corruption, readers halt at it."
        found = [Finding("log", "wrong", says, fix)]
    epoch = await asked.row("epoch")
    says = f"{epoch['epoch']} since {epoch['began_at']:%Y-%m-%d %H:%M} ({epoch['because']})"
    if epoch["same_place"]:
        found.append(Finding("epoch", "ok", says))
    else:
        fix = "Nothing: the next append makes another epoch, and old cursors are refused."
        found.append(Finding("epoch", "warn", f"{says}, and it has come to another server or table since", fix))
    return found


async def _lags(asked: Asked) -> list[Finding]:
    found = []
    for row in await asked.rows("lags"):
        name, seconds = row["name"], float(row["seconds"] or 0)
        says = f"{name} is {row['events']} events behind" + (f", {seconds:.0f} s" if row["events"] > 0 else "")
        group = name.removeprefix("subscriber.")
        if row["of_another_log"] and group != name:
            says = f"{name} is at {row['position']} of a former log, and halts"
            fix = f"millrace replay {group} {row['position']}, or wherever it is to go on"
            found.append(Finding("lag", "wrong", says, fix))
        elif row["events"] < 0 or row["of_another_log"]:
            fix = "Its relay goes on by itself when a processor runs; if this stays, look for `loop` in its log."
            found.append(Finding("lag", "wrong", f"{name} is not of this log", fix))
        elif seconds > _LAG_SECONDS:
            whose = "The processors, and their broker" if group == name else f"The service that subscribes as {group}"
            found.append(Finding("lag", "warn", says, f"{whose}: look whether they run, and at their logs."))
        else:
            found.append(Finding("lag", "ok", says))
    return found or [Finding("lag", "ok", "Nobody has read the log yet")]


async def _jobs(asked: Asked) -> list[Finding]:
    jobs = await asked.row("jobs")
    found = []
    if jobs["not_queued"]:
        says = f"{jobs['not_queued']} unfinished jobs are not in the queue"
        found.append(Finding("jobs", "wrong", says, "millrace rebuild jobs"))
    if jobs["abandoned"]:
        says = f"{jobs['abandoned']} jobs are held by workers that are gone, and nobody takes them"
        found.append(Finding("jobs", "wrong", says, "Start a processor."))
    if jobs["waiting"]:
        says = f"{jobs['waiting']} jobs have been due for up to {jobs['waiting_seconds']} s, and nobody takes them"
        found.append(
            Finding("jobs", "warn", says, "Add processors, or raise MILLRACE_JOBS_AT_ONCE and MILLRACE_WORKERS.")
        )
    if jobs["unreadable"]:
        says = f"{jobs['unreadable']} jobs have a history that the processors' release cannot read"
        found.append(
            Finding("jobs", "warn", says, "Run the newer release again, before MILLRACE_UNREADABLE_SECONDS are over.")
        )
    return found or [Finding("jobs", "ok", f"{jobs['unfinished']} unfinished, none of them forgotten")]


async def _dead_letters(asked: Asked) -> list[Finding]:
    letters = await asked.row("dead_letters")
    if not letters["count"]:
        return [Finding("dead letters", "ok", "None")]
    says = f"{letters['count']}, the oldest {age(letters['oldest'])} old"
    return [Finding("dead letters", "warn", says, "millrace dead-letters list; then replay what was mended")]


async def _outboxes(asked: Asked) -> list[Finding]:
    rows = await asked.rows("outboxes")
    fix = "Look whether broker, processors and this service run: what was accepted waits for them, and is not lost."
    return [
        Finding("outboxes", "warn", f"{row['owner']}: {row['count']} open, the oldest for {age(row['oldest'])}", fix)
        for row in rows
    ] or [Finding("outboxes", "ok", "What ingest and gateways have promised for more than a minute, the log knows")]


async def _storage(asked: Asked) -> list[Finding]:
    if asked.blobs is None:
        return [Finding("blobs", "skipped", "MILLRACE_BLOBS_URL is not set")]
    fix = "Look at the store, its credentials, and its lifecycle rules."
    try:
        await asked.blobs.ping()
        newest = await asked.rows("uploads")
        for row in newest:
            there = await _bytes(asked.blobs, row["blob"])
            if there == row["bytes"] or await asked.rows("deleted", row["blob"]):  # while we looked
                continue
            says = "is gone" if there is None else f"has {there} of {row['bytes']} bytes"
            return [Finding("blobs", "wrong", f"What was uploaded as {row['blob']} {says}", fix)]
    except MillraceError as away:
        return [Finding("blobs", "down", away.detail, fix)]
    has = {0: "there is no upload yet", 1: "it has the newest upload"}
    says = has.get(len(newest), f"it has the newest {len(newest)} uploads")
    return [Finding("blobs", "ok", f"The store answers, and {says}")]


async def _bytes(blobs: Blobs, key: str) -> int | None:
    try:
        return (await blobs.stat(key)).bytes
    except NotFound:
        return None


CHECKS: dict[str, Check] = {
    "server": _server,
    "durability": _durable,
    "clock": _clock,
    "migrations": _migrations,
    "grants": _grants,
    "log": _log,
    "lag": _lags,
    "jobs": _jobs,
    "dead letters": _dead_letters,
    "outboxes": _outboxes,
    "blobs": _storage,
}
