"""`millrace migrate` and `millrace provision`: a database of one's own."""

import click

from deploy.options import on_a_loop
from deploy.provision import ROLES, keep_epoch_on_failover, migrate_all
from deploy.provision import provision as provision_server
from deploy.target import let_in, required


@click.command()
@on_a_loop
async def migrate() -> None:
    """Bring the database at MILLRACE_DATABASE_URL to the newest schema, as its owner."""
    await migrate_all(await let_in(required("MILLRACE_DATABASE_URL"), "at MILLRACE_DATABASE_URL"))


@click.command()
@click.option(
    "--lossless-failover",
    is_flag=True,
    help="Replication is synchronous and never degrades: a promoted standby stays the same log.",
)
@on_a_loop
async def provision(lossless_failover: bool) -> None:
    """Make roles and database on a server of your own.

    MILLRACE_ADMIN_DATABASE_URL is the server's, as a superuser; MILLRACE_ROLE_PASSWORD becomes the roles' password.
    """
    admin = await let_in(required("MILLRACE_ADMIN_DATABASE_URL"), "at MILLRACE_ADMIN_DATABASE_URL")
    database = await provision_server(admin, "millrace", dict.fromkeys(ROLES, required("MILLRACE_ROLE_PASSWORD")))
    if lossless_failover:
        await keep_epoch_on_failover(database.admin_url)
