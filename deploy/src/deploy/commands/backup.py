"""`millrace backup`: while everything runs."""

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import asyncpg
import click

from deploy.backups.blobs import keep_blobs, listed
from deploy.backups.dump import dump
from deploy.backups.manifest import Manifest, fingerprint, sha256_of
from deploy.backups.uploads import uploads, without_bytes
from deploy.data_directory import kept_key_pepper
from deploy.exits import Exit
from deploy.options import as_json, on_a_loop
from deploy.printing import note, print_facts, print_json, progress, size
from deploy.provision import SCHEMAS
from deploy.target import Target, find_target, open_database
from events.blobs.blobs import Blobs
from events.errors import StartupError

_SHOWN = 5


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--blobs",
    type=click.Choice(["copy", "list"]),
    help="Copy them (the default for a local folder), or list them only.",
)
@as_json
@on_a_loop
async def backup(folder: Path, blobs: str | None, as_json: bool) -> None:
    """Write database and blobs to a new FOLDER, as of one moment. Everything goes on meanwhile.

    Exit code 1 if an upload's bytes are not in it: is MILLRACE_BLOBS_URL that of this database?
    """
    target = find_target()
    store = target.blobs()
    draft = _draft(folder)
    try:
        with _for_its_owner():
            manifest, lost = await _write(target, store, draft, blobs)
        draft.rename(folder)
    except BaseException as broken:  # what is left of it would fill the disk, night by night
        shutil.rmtree(draft, ignore_errors=True)
        if isinstance(broken, OSError) and not isinstance(broken, ConnectionError | TimeoutError):  # a full disk
            raise StartupError(f"Cannot write to {draft} ({broken.strerror}). Nothing of it is left.") from None
        raise
    if manifest.blobs_gone:
        note(f"{manifest.blobs_gone} blobs were deleted while we copied: their uploads have no bytes in this backup.")
    if manifest.key_pepper is None:
        note("MILLRACE_KEY_PEPPER is not known here. Keep it: API keys are worth nothing without it.")
    facts = {
        "backup": str(folder),
        "epoch": manifest.epoch,
        "events": manifest.head,
        "database": size(manifest.dump_bytes),
        "blobs": f"{manifest.blobs} {'copied' if manifest.blobs_copied else 'listed'}, {size(manifest.blob_bytes)}",
    }
    if as_json:
        print_json(json.loads((folder / "manifest.json").read_text()) | {"uploads_without_bytes": lost})
    else:
        print_facts(facts)
    if lost:
        some = f"{', '.join(lost[:_SHOWN])}{' …' if len(lost) > _SHOWN else ''}"
        note(
            f"Of {len(lost)} uploads the bytes are not in this backup, since {target.blobs_url} has none, or others. "
            f"Is that the store of this database (MILLRACE_BLOBS_URL)? {some}"
        )
        raise click.exceptions.Exit(Exit.WRONG)


@contextmanager
def _for_its_owner() -> Iterator[None]:
    """What is written meanwhile, by pg_dump and the store of blobs too, nobody else may read."""
    former = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(former)


def _draft(folder: Path) -> Path:
    """What was killed half-way is none, by its name, which is ours alone: another one may be at work."""
    if folder.exists():
        raise StartupError(f"{folder} is there already. A backup needs a folder of its own.")
    draft = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}.partial")
    try:
        draft.mkdir(mode=0o700, parents=True)
    except OSError as refused:
        raise StartupError(f"Cannot write to {draft} ({refused.strerror}).") from None
    return draft


async def _write(target: Target, blobs: Blobs, folder: Path, how: str | None) -> tuple[Manifest, list[str]]:
    """And the uploads whose bytes are not in it."""
    store = target.blobs_url or ""
    local = "://" not in store or store.startswith("file://")
    copy = how == "copy" or (how is None and local)
    async with open_database(target) as url:
        connection = await asyncpg.connect(url, timeout=10)
        try:
            # The dump sees what this transaction sees, and the manifest tells of that.
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                epoch, head = await connection.fetchrow("SELECT epoch, position FROM events.head") or (None, 0)
                revisions = {
                    schema: await connection.fetchval(f'SELECT version_num FROM "{schema}".alembic_version')  # noqa: S608
                    for schema in SCHEMAS
                }
                server: str = await connection.fetchval("SHOW server_version")
                snapshot: str = await connection.fetchval("SELECT pg_export_snapshot()")
                wanted = await uploads(connection)
                total = await connection.fetchval("SELECT pg_database_size(current_database())")
                file = folder / "database.dump"
                with progress("Dumping the database (bytes, of at most)") as advance:
                    await dump(url, file, snapshot, lambda done: advance(done, total))
        finally:
            await connection.close()
        with progress("Copying blobs" if copy else "Listing blobs") as advance:
            kept = await keep_blobs(blobs, folder, advance, copy=copy)
        lost = await _still_wanted(url, without_bytes(wanted, {one.key: one.bytes for one in listed(folder)}))
    pepper = os.environ.get("MILLRACE_KEY_PEPPER") or (target.directory and kept_key_pepper(target.directory))
    if target.directory is not None and pepper:
        _keep_secrets(folder / "secrets.json", {"key_pepper": pepper, "admin_key": target.key})
    manifest = Manifest(
        made_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        millrace=version("millrace-deploy"),
        postgres=server,
        epoch=str(epoch),
        head=head,
        revisions=revisions,
        dump_bytes=file.stat().st_size,
        dump_sha256=sha256_of(file, lambda _: None),
        store="folder" if local else store,
        blobs=kept.count,
        blobs_sha256=sha256_of(folder / "blobs.jsonl", lambda _: None),
        blob_bytes=kept.bytes,
        blobs_copied=copy,
        blobs_gone=kept.gone,
        key_pepper=fingerprint(pepper) if pepper else None,
    )
    manifest.save(folder)
    for written in (folder / "database.dump", folder / "blobs.jsonl", folder / "manifest.json", folder):
        _sync(written)
    return manifest, lost


async def _still_wanted(url: str, lost: list[str]) -> list[str]:
    """Without those that were deleted since the snapshot, as they may be."""
    if not lost:
        return []
    connection = await asyncpg.connect(url, timeout=10)
    try:
        there = await uploads(connection)
    finally:
        await connection.close()
    return [blob for blob in lost if blob in there]


def _keep_secrets(file: Path, kept: dict[str, str | None]) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(json.dumps(kept) + "\n")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
