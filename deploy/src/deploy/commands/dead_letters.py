"""`millrace dead-letters`: messages that nobody could handle."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import aiohttp
import click

from deploy.exits import Exit, Unreachable, WrongSettings
from deploy.options import as_json, limit, on_a_loop
from deploy.printing import note, print_json, progress, reason, show
from deploy.target import Target, find_target, open_owner_pool
from events.broker.by_url import open_broker
from events.database import Pool, load_queries
from events.errors import Forbidden
from processor.dead_letters import REPLAY_LIMIT, DeadLetters, Selection


@click.group("dead-letters")
def dead_letters() -> None:
    """List messages that nobody could handle, and replay them."""


@dead_letters.command("list")
@click.option("--tenant", help="Only of this tenant. Otherwise all.")
@click.option("--queue", help="Only what was parked from this queue.")
@click.option("--replayed", is_flag=True, help="Those that were replayed, too.")
@limit
@as_json
@on_a_loop
async def list_(tenant: str | None, queue: str | None, replayed: bool, limit: int, as_json: bool) -> None:
    """The newest first, with the reason."""
    async with open_owner_pool(find_target(), size=1) as pool:
        query = load_queries("deploy", "operations.sql")["dead_letters"]
        found = [dict(row) for row in await pool.fetch(query, tenant, queue, replayed, limit)]
    columns = ("id", "tenant", "queue", "routing_key", "attempts", "bytes", "parked_at", "reason")
    show(found, columns, as_json=as_json, nothing="There are no dead letters.")


@dead_letters.command()
@click.argument("ids", type=click.UUID, nargs=-1)
@click.option("--all", "all_", is_flag=True, help="All that wait.")
@click.option("--queue", help="Of these, only what was parked from this queue.")
@as_json
@on_a_loop
async def replay(ids: tuple[UUID, ...], all_: bool, queue: str | None, as_json: bool) -> None:
    """Publish messages again to where they came from: those with these IDS, or --all.

    Exit code 4 if one of them does not wait: there is none, or it was replayed already.
    """
    if bool(ids) == all_:
        raise click.UsageError("Say which: their ids, or --all.")
    target = find_target()
    open_publish = _through_broker if target.broker_url else _through_gateway
    async with open_owner_pool(target, size=2) as pool, open_publish(target, pool) as publish:
        # Those that wait now: one that fails again is parked again, and would be replayed for ever.
        query = load_queries("deploy", "operations.sql")["waiting_dead_letters"]
        waiting = await pool.fetch(query, list(ids) or None, queue)
        total = sum(len(row["ids"]) for row in waiting)
        done: list[UUID] = []
        with progress("Replaying") as advance:
            for row in waiting:
                for begin in range(0, len(row["ids"]), REPLAY_LIMIT):
                    done += await publish(row["tenant"], row["ids"][begin : begin + REPLAY_LIMIT])
                    advance(len(done), total)
    asked_for = ids or [id_ for row in waiting for id_ in row["ids"]]
    left = [id_ for id_ in dict.fromkeys(asked_for) if id_ not in set(done)]
    if as_json:
        print_json({"replayed": len(done), "ids": done, "not_replayed": left})
    else:
        click.echo(f"Replayed {len(done)} of {len(done) + len(left)} dead letters.")
    if left:
        waits = {id_: queue for row in waiting for id_, queue in zip(row["ids"], row["queues"], strict=True)}
        for why, some in _reasons(left, waits, through_broker=target.broker_url is not None).items():
            note(f"{why}: {', '.join(map(str, some[:_SHOWN]))}{' …' if len(some) > _SHOWN else ''}")
        raise click.exceptions.Exit(Exit.REFUSED)


def _reasons(left: Sequence[UUID], waits: Mapping[UUID, str], *, through_broker: bool) -> dict[str, list[UUID]]:
    reasons: dict[str, list[UUID]] = {}
    for id_ in left:
        if id_ not in waits:
            why = "There are none of these ids, or they were replayed already"
        elif through_broker:
            why = f"Nothing here knows where these came from (queue {waits[id_]!r}), so publish them again yourself"
        else:
            why = _OUT_OF_REACH
        reasons.setdefault(why, []).append(id_)
    return reasons


_OUT_OF_REACH = (
    "The gateway replays what is of its key's tenant, or of none, and came from a queue of Millrace, and these are not "
    "or did not (MILLRACE_KEY may be a key of another tenant, with the scope ops)"
)
_SHOWN = 20
Publish = Callable[[str | None, list[UUID]], Awaitable[list[UUID]]]  # which of them it has published


@asynccontextmanager
async def _through_broker(target: Target, pool: Pool) -> AsyncIterator[Publish]:
    assert target.broker_url
    async with open_broker(target.broker_url, name="operator") as broker:
        await broker.ping()
        letters = DeadLetters(pool, broker)

        async def publish(tenant: str | None, ids: list[UUID]) -> list[UUID]:
            return await letters.replay(Selection(tenant or "", ids=ids), limit=REPLAY_LIMIT)

        yield publish


@asynccontextmanager
async def _through_gateway(target: Target, _pool: Pool) -> AsyncIterator[Publish]:
    """The broker of `make run` is in its memory: only it can publish there."""
    if target.url is None or target.key is None or not target.running:
        raise WrongSettings(
            "The broker is not to be had from here. Set MILLRACE_BROKER_URL, or MILLRACE_URL and MILLRACE_KEY of a "
            f"gateway that runs{'' if target.directory is None else f' (`{target.start_command}`)'}."
        )
    url = f"{target.url}/api/v1/admin/dead-letters/replay"
    headers = {"Authorization": f"Bearer {target.key}"}
    async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=60)) as session:

        async def publish(_tenant: str | None, ids: list[UUID]) -> list[UUID]:
            try:
                async with session.post(url, json={"ids": [str(id_) for id_ in ids]}) as answer:
                    said = await answer.json(content_type=None)
            except (aiohttp.ClientError, TimeoutError, ValueError) as gone:
                raise Unreachable(f"The gateway at {target.url} does not answer: {reason(gone)}.") from None
            if answer.status != 200:
                raise Forbidden(f"The gateway says {answer.status}: {said.get('detail', said)}")
            return [UUID(id_) for id_ in said["ids"]]

        yield publish
