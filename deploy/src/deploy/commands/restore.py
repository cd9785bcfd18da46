"""`millrace restore`: a backup becomes a log of its own."""

import json
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import click

from deploy import servers
from deploy.backups import dump as dumping
from deploy.backups.blobs import listed, missing, put_back
from deploy.backups.manifest import Manifest, fingerprint, load_manifest, sha256_of
from deploy.backups.uploads import uploads, without_bytes
from deploy.data_directory import DataDirectory, open_data_directory
from deploy.exits import Exit
from deploy.options import as_json, on_a_loop
from deploy.postgres_wheel import open_server
from deploy.printing import Advance, note, print_facts, print_json, progress
from deploy.provision import OWNER, SCHEMAS, Database, migrate_all, provision_roles
from deploy.settings import DeploySettings
from deploy.target import OWNER_ROLE, Target, is_running, let_in
from deploy.verification import Report, verify
from events.blobs.blobs import Blobs
from events.database import open_pool
from events.errors import Conflict, StartupError

# Services name their connections so; ours is millrace-operator.
_AT_WORK = """
SELECT DISTINCT application_name FROM pg_stat_activity
WHERE datname = current_database() AND application_name ~ '^millrace-' AND application_name <> 'millrace-operator'
    AND pid <> pg_backend_pid()
"""
# What 0006_epochs.sql does in events.renew_epoch: an older log has no such function, and its migration notes the rest.
_OLDER_THAN_EPOCHS = (
    "UPDATE events.head SET epoch = gen_random_uuid()",
    (
        "UPDATE events.checkpoints AS checkpoint SET epoch = head.epoch, fence = checkpoint.fence + 1, "
        "position = least(checkpoint.position, head.position) FROM events.head WHERE checkpoint.name LIKE 'relay.%'"
    ),
)
_EPOCHS = "0006"  # of the schema events
_GROUPS = "SELECT name, position FROM events.checkpoints WHERE name LIKE 'subscriber.%' ORDER BY name"


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--stack", is_flag=True, help="Into the directory of `make stack`, not of `make run`.")
@click.option("--force", is_flag=True, help="Also over what is there. It is gone then.")
@as_json
@on_a_loop
async def restore(folder: Path, stack: bool, force: bool, as_json: bool) -> None:
    """Restore the backup in FOLDER into an empty database, as another log: old cursors are refused from then on.

    Into that at MILLRACE_DATABASE_URL (roles made before by `millrace provision`, services stopped), or else into
    MILLRACE_DATA_DIR, which is made if it is not there. Then everything is verified.
    """
    manifest = load_manifest(folder)
    _check_revisions(manifest)
    with progress("Reading the dump") as advance:
        _check_files(folder, manifest, advance)
    async with _opened(folder, manifest, stack=stack) as place:
        await _check_place(place, force=force)
        with progress("Restoring blobs") as advance:
            if manifest.blobs_copied:
                wrong = await put_back(folder, place.blobs, advance, manifest.blobs)
            else:
                wrong = await missing(folder, place.blobs, advance, manifest.blobs)
        with progress("Restoring the database (bytes)") as advance:
            await dumping.restore(
                place.owner_url,
                folder / "database.dump",
                before=[f"SET ROLE {OWNER_ROLE}", *(f"DROP SCHEMA IF EXISTS {schema} CASCADE" for schema in SCHEMAS)],
                after=_another_log(manifest),
                read=lambda done: advance(done, max(done, manifest.dump_bytes)),
            )
        place.keep_secrets()
        await migrate_all(place.owner_url)
        report, lost, groups = await _verified(place)
    wrong += lost
    if report.events != manifest.head:
        wrong.append(f"The log ends at {report.events}, and the backup's at {manifest.head}")
    wrong += [f"It does not hold that {one.holds}: {', '.join(one.wrong)}" for one in report.verdicts if one.wrong]
    facts: dict[str, Any] = {"epoch": report.epoch, "former_epoch": manifest.epoch, "events": report.events}
    if as_json:
        print_json(facts | {"blobs": manifest.blobs, "wrong": wrong, "groups": groups})
    else:
        print_facts(facts | {"blobs": manifest.blobs, "verified": "something is wrong" if wrong else "clean"})
    for sentence in wrong:
        note(sentence)
    for name, position in groups.items():
        group = name.removeprefix("subscriber.")
        note(f"The subscribers {group} halt until you say where they go on: millrace replay {group} {position}")
    if wrong:
        raise click.exceptions.Exit(Exit.WRONG)


@dataclass(frozen=True, slots=True)
class _Place:
    url: str
    owner_url: str
    blobs: Blobs
    keep_secrets: Callable[[], None]  # only when the database is the backup's: they open nothing else


@asynccontextmanager
async def _opened(folder: Path, manifest: Manifest, *, stack: bool) -> AsyncIterator[_Place]:
    given = os.environ.get("MILLRACE_DATABASE_URL")
    if given:
        pepper = os.environ.get("MILLRACE_KEY_PEPPER")
        if pepper and manifest.key_pepper and fingerprint(pepper) != manifest.key_pepper:
            raise StartupError(
                "MILLRACE_KEY_PEPPER is another one than when the backup was made: no API key would be known. "
                "Set that one, for the gateways too."
            )
        await let_in(given, "at MILLRACE_DATABASE_URL")
        target = Target(None, running=True)
        yield _Place(given, given, target.blobs() if manifest.blobs else target.blobs_if_told(), lambda: None)
        return
    data_dir = DeploySettings.from_environment().data_dir.absolute()
    directory = data_dir / "stack" if stack else data_dir
    if is_running(directory):
        raise Conflict(f"A Millrace is running on {directory}. Stop it, or set MILLRACE_DATA_DIR to another directory.")
    with open_data_directory(directory) as data:
        if stack:  # by which it is known as such
            (directory / "rabbitmq").mkdir(exist_ok=True)
        opening = (
            servers.open_postgres(data.path / "postgres", password=data.secrets.postgres)
            if stack
            else open_server(data)
        )
        async with opening as server:
            url = await provision_roles(server.admin_url(), "millrace", data.secrets.roles)
            owner = Database(url, data.secrets.roles).url(OWNER)
            yield _Place(url, owner, Target(directory, running=False).blobs(), lambda: _keep_secrets(folder, data))


def _keep_secrets(folder: Path, data: DataDirectory) -> None:
    file = folder / "secrets.json"
    if not file.exists():
        note("The backup has no secrets.json: API keys that are in it will not be known here.")
        return
    sealed = json.loads(file.read_text())
    data.keep_key_pepper(sealed["key_pepper"])
    if sealed["admin_key"] and not data.admin_key_file.exists():
        data.keep_admin_key(sealed["admin_key"])


async def _check_place(place: _Place, *, force: bool) -> None:
    connection = await asyncpg.connect(place.url, timeout=10)
    try:
        if at_work := [row[0] for row in await connection.fetch(_AT_WORK)]:
            raise Conflict(f"{', '.join(sorted(at_work))} work on this database. Stop the services first.")
        if force or not await connection.fetchval("SELECT to_regclass('events.head') IS NOT NULL"):
            return
        head = await connection.fetchval("SELECT position FROM events.head")
        if head or await connection.fetchval("SELECT EXISTS (SELECT FROM events.streams)"):
            raise Conflict(f"This database holds a log of {head} events. --force restores over it; it is gone then.")
    finally:
        await connection.close()


async def _verified(place: _Place) -> tuple[Report, list[str], dict[str, int]]:
    async with open_pool(place.owner_url, name="operator", size=2) as pool:
        with progress("Verifying") as advance:
            report = await verify(pool, advance, projections=True)
        there = {key: info.bytes async for key, info in place.blobs.listing("uploads")}
        lost = without_bytes(await uploads(pool), there)
        groups = {row["name"]: row["position"] for row in await pool.fetch(_GROUPS)}
    return report, [f"The upload {blob} has no bytes, or others than it had" for blob in lost], groups


def _check_revisions(manifest: Manifest) -> None:
    """Before anything is touched: what a newer release has made can be read by that one only."""
    from events.migrate import newest_revision  # here: Alembic takes half a second, of most commands for nothing

    for schema, revision in manifest.revisions.items():
        if schema not in SCHEMAS or revision > newest_revision(schema):
            raise StartupError(
                f"The backup was made by Millrace {manifest.millrace}, whose schema {schema} {revision} this release "
                "does not know. Restore it with that release."
            )


def _check_files(folder: Path, manifest: Manifest, advance: Advance) -> None:
    """Before anything is touched."""
    total = manifest.dump_bytes
    for file, expected in ("database.dump", manifest.dump_sha256), ("blobs.jsonl", manifest.blobs_sha256):
        if sha256_of(folder / file, lambda done: advance(done, max(done, total))) != expected:
            raise StartupError(f"{folder / file} is not what was written: the backup is damaged, or incomplete.")
    if (count := sum(1 for _ in listed(folder))) != manifest.blobs:
        raise StartupError(f"{folder} lists {count} blobs, and its manifest says {manifest.blobs}: it is damaged.")


def _another_log(manifest: Manifest) -> Sequence[str]:
    """What is in a manifest goes into a statement, so only what a time is made of is taken."""
    if manifest.revisions["events"] < _EPOCHS:
        return _OLDER_THAN_EPOCHS
    made_at = "".join(letter for letter in manifest.made_at if letter.isalnum() or letter in ":-+.")
    return [f"SELECT events.renew_epoch('restored from the backup of {made_at}')"]  # noqa: S608
