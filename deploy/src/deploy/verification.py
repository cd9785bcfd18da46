"""Verifies the log as a whole: every position, every version, every id; and the projections against their log.

It reads one snapshot, so writers go on meanwhile. The projections are made a second time, by the same functions, in
temporary tables, and compared: that takes as much room as they do.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from deploy.printing import Advance
from events.database import Pool, load_queries
from events.log import Connection

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


class _Snapshot:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._queries = load_queries("deploy", "verification.sql")

    async def rows(self, query: str, *arguments: object) -> list[Any]:
        return list(await self._connection.fetch(self._queries[query], *arguments, timeout=_NO_LIMIT))

    async def texts(self, query: str, *arguments: object) -> list[str]:
        return [str(row[0]) for row in await self.rows(query, *arguments)]

    async def execute(self, sql: str) -> None:
        await self._connection.execute(sql, timeout=_NO_LIMIT)

    async def fetch(self, sql: str) -> list[Any]:
        return list(await self._connection.fetch(sql, timeout=_NO_LIMIT))


async def verify(pool: Pool, advance: Advance, *, projections: bool) -> Report:
    async with _snapshot(pool) as log:
        ((epoch, head),) = await log.rows("head")
        verdicts = await _of_the_log(log, head, advance)
        verdicts.append(Verdict("every unfinished job is in the queue", await log.texts("not_queued")))
        if projections:
            verdicts += await _of_projections(log, head, advance)
    return Report(str(epoch), head, verdicts)


async def _of_the_log(log: _Snapshot, head: int, advance: Advance) -> list[Verdict]:
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
    dense.add([f"{position} beyond the head {head}" for position in await log.texts("beyond", head)])
    ids.add([f"{position} (no event)" for position in await log.texts("ids_of_nothing")])
    versions = Verdict("versions of each stream are 1, 2, 3 … up to what the table of streams says")
    versions.add(await log.texts("versions"))
    readers = Verdict("no reader is beyond the head", await log.texts("checkpoints"))
    return [dense, versions, order, names, ids, readers]


async def _of_projections(log: _Snapshot, head: int, advance: Advance) -> list[Verdict]:
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
async def _snapshot(pool: Pool) -> AsyncIterator[_Snapshot]:
    """Nothing of what is made in it stays."""
    async with pool.acquire() as connection:
        transaction = connection.transaction(isolation="repeatable_read")
        await transaction.start()
        try:
            yield _Snapshot(connection)
        finally:
            if not connection.is_closed():
                await transaction.rollback()
