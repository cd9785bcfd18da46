"""Verifies the log as a whole: every position, every version, every id; and the projections against their log.

Writers go on meanwhile. What is in the log up to its head never changes, so that is read in many short snapshots: a
long one keeps PostgreSQL from throwing away the old versions of the head's row, and each append reads them all. Only
the projections need one. They are made a second time, by the same functions, in temporary tables, and compared: that
takes as much room as they do.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from uuid import UUID

from deploy.printing import Advance
from events.database import Pool, load_queries
from events.log.log import Connection

_Answering: TypeAlias = "Pool | Connection"

_CHUNK = 50_000
_NO_LIMIT = 365 * 86_400.0
_MOST_EXAMPLES = 20
# Each projection's key.
_KEYS = {
    "jobs": ("tenant", "id"),
    "steps": ("tenant", "job_id", "step", "item"),
    "workflows": ("tenant", "name", "version"),
    "schedules": ("tenant", "id"),
}


@dataclass(slots=True)
class Verdict:
    """`wrong` are the first of those for which it does not hold."""

    holds: str
    wrong: list[str] = field(default_factory=list)

    def add(self, found: Sequence[str]) -> None:
        self.wrong += found[: _MOST_EXAMPLES - len(self.wrong)]


@dataclass(frozen=True, slots=True)
class Report:
    epoch: str
    events: int
    verdicts: list[Verdict]

    @property
    def clean(self) -> bool:
        return not any(verdict.wrong for verdict in self.verdicts)


class _Questions:
    """Of a pool, each in a snapshot of its own; of a connection, in that of its transaction."""

    def __init__(self, answering: _Answering) -> None:
        self._answering = answering
        self._queries = load_queries("deploy", "verification.sql")

    async def rows(self, query: str, *arguments: object) -> list[Any]:
        return await self.fetch(self._queries[query], *arguments)

    async def texts(self, query: str, *arguments: object) -> list[str]:
        return [str(row[0]) for row in await self.rows(query, *arguments)]

    async def execute(self, sql: str) -> None:
        await self._answering.execute(sql, timeout=_NO_LIMIT)

    async def fetch(self, sql: str, *arguments: object) -> list[Any]:
        return list(await self._answering.fetch(sql, *arguments, timeout=_NO_LIMIT))


async def verify(pool: Pool, advance: Advance, *, projections: bool) -> Report:
    log = _Questions(pool)
    ((epoch, head),) = await log.rows("head")
    verdicts = await _of_the_log(log, head, advance)
    verdicts.append(Verdict("every unfinished job is in the queue", await log.texts("not_queued")))
    if projections:
        async with _snapshot(pool) as snapshot:
            verdicts += await _of_projections(snapshot, advance)
    return Report(str(epoch), head, verdicts)


async def _of_the_log(log: _Questions, head: int, advance: Advance) -> list[Verdict]:
    dense = Verdict("positions are 1, 2, 3 … up to the head")
    ids = Verdict("the table of ids has each event, where it is")
    names = Verdict("each event is of the stream that it names")
    order = Verdict("versions of a stream rise with their positions")
    for begin in range(0, head, _CHUNK):
        end = min(begin + _CHUNK, head)
        ((there,),) = await log.rows("count", begin, end)
        if there != end - begin:
            dense.add([f"{first}-{last} missing" for first, last in await log.rows("holes", begin, end)])
        ids.add(await log.texts("ids", begin, end))
        names.add(await log.texts("names", begin, end))
        order.add(await log.texts("disorder", begin, end))
        advance(end, head)
    dense.add([f"{position} beyond the head" for position in await log.texts("beyond")])
    async for wrong in _pages(log, "ids_of_nothing", "", UUID(int=0)):
        ids.add([f"{position} (no event)" for position in wrong])
    versions = Verdict("versions of each stream are 1, 2, 3 … up to what the table of streams says")
    async for wrong in _pages(log, "versions", "", ""):
        versions.add(wrong)
    readers = Verdict("no reader is beyond the head", await log.texts("checkpoints"))
    return [dense, versions, order, names, ids, readers]


async def _pages(log: _Questions, query: str, *key: object) -> AsyncIterator[list[str]]:
    """What is wrong in each page of a table, by its key."""
    while rows := await log.rows(query, *key):
        ((*key, wrong),) = rows
        yield wrong


async def _of_projections(log: _Questions, advance: Advance) -> list[Verdict]:
    ((_, head),) = await log.rows("head")
    await log.execute("SET LOCAL check_function_bodies = off")
    await log.execute("SET LOCAL enable_seqscan = off")  # new tables look small, and will not be
    for table in _KEYS:
        await log.execute(f"CREATE TEMPORARY TABLE {table} (LIKE processor.{table} INCLUDING ALL) ON COMMIT DROP")
    for (definition,) in await log.rows("functions"):
        await log.execute(definition.replace("processor.", "pg_temp."))
    for begin in range(0, head, _CHUNK):
        end = min(begin + _CHUNK, head)
        for function in ("project", "project_workflows", "project_schedules"):
            await log.execute(f"SELECT pg_temp.{function}({begin + 1}, {end})")
        advance(end, head)
    await log.execute("SELECT pg_temp.note_started()")
    await log.execute("SET LOCAL enable_seqscan = on")
    return [
        Verdict(f"{table} are what the log says", [row[0] for row in await log.fetch(_differences(table, key))])
        for table, key in _KEYS.items()
    ]


def _differences(table: str, key: Sequence[str]) -> str:
    shown = ", ".join(f"coalesce(kept.{column}, told.{column})" for column in key)
    return (
        f"SELECT concat_ws('/', {shown}) FROM processor.{table} AS kept "  # noqa: S608 - names of ours
        f"FULL JOIN pg_temp.{table} AS told USING ({', '.join(key)}) "
        f"WHERE kept::text IS DISTINCT FROM told::text LIMIT {_MOST_EXAMPLES}"
    )


@asynccontextmanager
async def _snapshot(pool: Pool) -> AsyncIterator[_Questions]:
    """Nothing of what is made in it stays."""
    async with pool.acquire() as connection:
        transaction = connection.transaction(isolation="repeatable_read")
        await transaction.start()
        try:
            yield _Questions(connection)
        finally:
            if not connection.is_closed():
                await transaction.rollback()
