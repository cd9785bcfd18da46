"""`millrace replay`: the past again, for a group of subscribers."""

import click

from deploy.options import POSITION, as_json, on_a_loop
from deploy.printing import print_json
from deploy.target import find_target, open_owner_pool
from events.log.subscriptions import Subscription


@click.command()
@click.argument("group")
@click.argument("position", type=POSITION)
@as_json
@on_a_loop
async def replay(group: str, position: int, as_json: bool) -> None:
    """Hand everything after a POSITION of the log to a GROUP of subscribers again.

    So does a group go on, too, that has halted since the log is another one (after a restore, or a failover).
    """
    async with open_owner_pool(find_target(), size=1) as pool:
        await Subscription(pool, group).replay(position)
    if as_json:
        print_json({"group": group, "position": position})
    else:
        click.echo(f"{group} goes on after position {position}.")
