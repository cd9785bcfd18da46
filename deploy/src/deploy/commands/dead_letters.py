"""`millrace dead-letters`: messages that nobody could handle."""

from uuid import UUID

import aiohttp
import click

from deploy.exits import Unreachable, WrongSettings
from deploy.options import as_json, limit, on_a_loop
from deploy.printing import print_json, progress, reason, show
from deploy.target import Target, find_target, open_owner_pool
from events.broker.by_url import open_broker
from events.database import load_queries
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
    """Publish messages again to where they came from: those with these IDS, or --all."""
    if bool(ids) == all_:
        raise click.UsageError("Say which: their ids, or --all.")
    target = find_target()
    done = await (_through_broker if target.broker_url else _through_gateway)(target, list(ids) or None, queue)
    if as_json:
        print_json({"replayed": len(done), "ids": done})
    else:
        click.echo(f"Replayed {len(done)} of {len(ids) or 'all'} dead letters.")


async def _through_broker(target: Target, ids: list[UUID] | None, queue: str | None) -> list[UUID]:
    assert target.broker_url
    done: list[UUID] = []
    async with (
        open_owner_pool(target, size=2) as pool,
        open_broker(target.broker_url, name="operator") as broker,
    ):
        await broker.ping()
        letters = DeadLetters(pool, broker)
        # Those that wait now: one that fails again is parked again, and would be replayed for ever.
        waiting = await pool.fetch(load_queries("deploy", "operations.sql")["waiting_dead_letters"], ids, queue)
        total = sum(len(row["ids"]) for row in waiting)
        with progress("Replaying") as advance:
            for row in waiting:
                for begin in range(0, len(row["ids"]), REPLAY_LIMIT):
                    selection = Selection(row["tenant"] or "", ids=row["ids"][begin : begin + REPLAY_LIMIT])
                    done += await letters.replay(selection, limit=REPLAY_LIMIT)
                    advance(len(done), total)
    return done


async def _through_gateway(target: Target, ids: list[UUID] | None, queue: str | None) -> list[UUID]:
    """The broker of `make run` is in its memory: only it can publish there."""
    if target.url is None or target.key is None or not target.running:
        raise WrongSettings(
            "The broker is not to be had from here. Set MILLRACE_BROKER_URL, or MILLRACE_URL and MILLRACE_KEY of a "
            f"gateway that runs{'' if target.directory is None else f' (`{target.start_command}`)'}."
        )
    wish = {"ids": None if ids is None else [str(id_) for id_ in ids], "queue": queue}
    url = f"{target.url}/api/v1/admin/dead-letters/replay"
    try:
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {target.key}"}) as session,
            session.post(url, json=wish, timeout=aiohttp.ClientTimeout(total=60)) as answer,
        ):
            said = await answer.json(content_type=None)
            if answer.status != 200:
                raise Forbidden(f"The gateway says {answer.status}: {said.get('detail', said)}")
    except (aiohttp.ClientError, TimeoutError, ValueError) as gone:
        raise Unreachable(f"The gateway at {target.url} does not answer: {reason(gone)}.") from None
    return [UUID(id_) for id_ in said["ids"]]
