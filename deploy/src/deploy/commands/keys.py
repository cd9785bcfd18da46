"""`millrace keys`: the API keys of all tenants, also while no gateway runs."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import click
from obstore.store import MemoryStore
from pydantic import TypeAdapter, ValidationError

from deploy.data_directory import kept_key_pepper
from deploy.exits import WrongSettings
from deploy.options import Number, as_json, limit, on_a_loop
from deploy.printing import note, print_facts, print_json, show
from deploy.target import Target, find_target, open_owner_pool
from events.blobs.blobs import Blobs
from events.broker.memory import MemoryBroker
from events.database import Pool, load_queries
from events.delivery.outbox import Outbox
from events.errors import NotFound
from events.identity import Principal, PrincipalSigner
from events.lifecycle import Parts
from events.telemetry import Telemetry
from gateway.auth.credentials import SCOPES
from gateway.auth.issuers import TENANT
from gateway.auth.keys import new_key as make_key
from gateway.auth.revocations import Revocations
from gateway.keys.keys import Keys, Wish
from gateway.keys.routes import Name
from gateway.upstreams import UPSTREAMS

_OPERATOR = "operator"


def _scopes() -> frozenset[str]:
    """Those that open something: of domains that no service has here, there is no path that begins with their name."""
    paths = {route.prefix for route in UPSTREAMS}
    return frozenset(scope for scope in SCOPES if ":" not in scope or f"/api/v1/{scope.partition(':')[0]}" in paths)


@click.group()
def keys() -> None:
    """List, create and revoke API keys."""


@click.command("new-key")
def new_key() -> None:
    """Print a new API key, as MILLRACE_ADMIN_KEY of a gateway wants it."""
    click.echo(make_key())


@keys.command("list")
@click.option("--tenant", help="Only of this tenant. Otherwise of all.")
@click.option("--revoked", is_flag=True, help="Those that were revoked, too.")
@limit
@as_json
@on_a_loop
async def list_(tenant: str | None, revoked: bool, limit: int, as_json: bool) -> None:
    """The newest first. The admin key of the gateway's settings is not among them."""
    async with open_owner_pool(find_target(), size=1) as pool:
        query = load_queries("deploy", "operations.sql")["keys"]
        found = [dict(row) for row in await pool.fetch(query, tenant, revoked, limit)]
    if not as_json:
        for row in found:
            row["scopes"] = " ".join(row["scopes"])
    columns = ("id", "tenant", "name", "scopes", "created_at", "expires_at", "last_used_at")
    show(found, (*columns, "revoked_at") if revoked else columns, as_json=as_json, nothing="There are no such keys.")


@keys.command()
@click.argument("name")
@click.option("--tenant", default="default", show_default=True, help="Whose it is to be.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=click.Choice([*sorted(_scopes()), "all"]),
    help="May be given again.",
)
@click.option("--days", type=Number(0, 36_500, min_open=True), help="Until it expires. Otherwise it does not.")
@as_json
@on_a_loop
async def create(name: str, tenant: str, scopes: tuple[str, ...], days: float | None, as_json: bool) -> None:
    """Make a key and print it, this once."""
    if TENANT.fullmatch(tenant) is None:
        raise click.BadParameter(f"A tenant is {TENANT.pattern}.", param_hint="--tenant")
    name = _checked(name)
    wanted = _scopes() if "all" in scopes else frozenset(scopes)
    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
    async with _opened() as (_, keys_):
        made = await keys_.make(Principal(tenant, _OPERATOR, SCOPES), Wish(name, wanted, expires_at), None)
    facts = {"id": made.key.id, "tenant": tenant, "name": name, "scopes": sorted(wanted), "expires_at": expires_at}
    if as_json:
        print_json(facts | {"key": made.secret.text})
        return
    print_facts(facts | {"scopes": " ".join(sorted(wanted)), "key": made.secret.text})
    note("It is shown this once, and kept nowhere.")


@keys.command()
@click.argument("key_id")
@as_json
@on_a_loop
async def revoke(key_id: str, as_json: bool) -> None:
    """End a key on every replica within a second, and the sockets that live by it. KEY_ID as the list has it."""
    async with _opened() as (pool, keys_):
        tenant = await pool.fetchval(load_queries("deploy", "operations.sql")["tenant_of_key"], key_id)
        if tenant is None:
            raise NotFound(f"There is no key {key_id}.")
        await keys_.revoke(Principal(tenant, _OPERATOR, SCOPES), key_id)
    if as_json:
        print_json({"id": key_id, "tenant": tenant, "revoked": True})
    else:
        click.echo(f"{key_id} is revoked.")


def _checked(name: str) -> str:
    """As the API takes them."""
    try:
        return TypeAdapter[str](Name).validate_python(name)
    except ValidationError:
        raise click.BadParameter("It is one line of text, of at most 100 characters.", param_hint="NAME") from None


@asynccontextmanager
async def _opened() -> AsyncIterator[tuple[Pool, Keys]]:
    """The log hears of it through the gateway's outbox, as soon as a gateway runs."""
    target = find_target()
    pepper = _key_pepper(target)
    async with open_owner_pool(target, size=2) as pool:
        telemetry = Telemetry("operator")
        parts = Parts("operator", pool, MemoryBroker(), Blobs(MemoryStore()), PrincipalSigner(pepper), telemetry)
        try:
            yield pool, Keys(pool, pepper, Revocations(pool), Outbox(parts, schema="gateway", retry_seconds=0))
        finally:
            telemetry.close()


def _key_pepper(target: Target) -> str:
    pepper = os.environ.get("MILLRACE_KEY_PEPPER") if target.directory is None else kept_key_pepper(target.directory)
    if not pepper:
        raise WrongSettings("MILLRACE_KEY_PEPPER is not set: keys are sealed with it, the same as the gateways'.")
    return pepper
