"""`millrace rebuild`: projections, made anew from the log."""

import click

from deploy.options import as_json, on_a_loop
from deploy.printing import print_json, progress
from deploy.projections import PROJECTIONS, rebuild_projection
from deploy.target import find_target, open_owner_pool


@click.command()
@click.argument("projection", type=click.Choice([*PROJECTIONS, "all"]), default="all")
@click.option("--yes", is_flag=True, help="Do not ask, though appends wait meanwhile.")
@as_json
@on_a_loop
async def rebuild(projection: str, yes: bool, as_json: bool) -> None:
    """Make a PROJECTION anew from the log: the same rows, whatever was done to them.

    Appends wait until it is done; reads see the old rows until then.
    """
    async with open_owner_pool(find_target(), size=2) as pool:
        length = await pool.fetchval("SELECT position FROM events.head")
        if length > _WORTH_A_QUESTION and not yes:
            click.confirm(f"Every append waits while {length} events are replayed. Go on?", abort=True, err=True)
        for name in PROJECTIONS if projection == "all" else [projection]:
            with progress(f"Rebuilding {name}") as advance:
                replayed = await rebuild_projection(pool, name, advance)
    if as_json:
        print_json({"projection": projection, "replayed": replayed})
    else:
        click.echo(f"Replayed {replayed} events.")


_WORTH_A_QUESTION = 1_000_000
