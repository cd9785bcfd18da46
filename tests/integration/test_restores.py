"""What a restore refuses, it refuses before anything is touched; and what it cannot know, it does not make up."""

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.data_directory import kept_key_pepper, open_data_directory
from deploy.provision import Database
from events.blobs.blobs import open_blobs
from fixtures.log import as_owner, note, open_log, request
from fixtures.operator import Operator
from fixtures.patient import examined


async def _append(database: Database, count: int) -> None:
    async with open_log(database) as opened:
        for _ in range(count):
            await opened.appender.append(request(note("note:1")))


def _operator(database: Database, blobs: Path) -> Operator:
    settings = {"MILLRACE_DATABASE_URL": database.url("owner"), "MILLRACE_BLOBS_URL": str(blobs)}
    return Operator(settings | {"MILLRACE_DATA_DIR": "/nowhere"})


async def _epoch(database: Database) -> str:
    async with as_owner(database) as owner:
        return str(await owner.fetchval("SELECT epoch FROM events.head"))


def _rewrite(manifest: Path, changes: Mapping[str, Any]) -> None:
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | changes))


async def test_a_backup_of_a_newer_release_is_refused_before_anything_is_touched(
    database: Database, tmp_path: Path
) -> None:
    """It was restored over what was there, and failed only then, at migrations that it did not know."""
    operator = _operator(database, tmp_path / "blobs")
    await _append(database, 1)
    former = await _epoch(database)
    told = await operator.asks("backup", str(tmp_path / "backup"))
    for newer in ({"events": "9999"}, {"billing": "0001"}):
        _rewrite(tmp_path / "backup" / "manifest.json", {"revisions": told["revisions"] | newer})
        code, _, err = await operator.says("restore", str(tmp_path / "backup"), "--force")
        assert (code, "Restore it with that release" in err) == (1, True), err
    assert await _epoch(database) == former


async def test_a_backup_from_before_epochs_were_kept_becomes_another_log(database: Database, tmp_path: Path) -> None:
    """Such a log has no events.renew_epoch, so no older backup could be restored at all."""
    operator = _operator(database, tmp_path / "blobs")
    await _append(database, 3)
    async with as_owner(database) as owner:
        await owner.execute("SELECT events.acquire_checkpoint('relay.test')")
        await owner.execute(
            "DROP FUNCTION events.recognise, events.renew_epoch, events.place; DROP TABLE events.epochs;"
            "UPDATE events.alembic_version SET version_num = '0005'"
        )
    former = await _epoch(database)
    told = await operator.asks("backup", str(tmp_path / "backup"))
    assert told["revisions"]["events"] == "0005"
    restored = await operator.asks("restore", str(tmp_path / "backup"), "--force")
    assert (restored["wrong"], restored["epoch"] != former) == ([], True)
    assert [one["epoch"] for one in await operator.asks("log", "epochs")] == [restored["epoch"]]
    async with as_owner(database) as owner:
        relays = await owner.fetch("SELECT epoch::text, fence FROM events.checkpoints WHERE name = 'relay.test'")
    assert [tuple(row) for row in relays] == [(restored["epoch"], 2)]
    await _append(database, 1)
    assert await _epoch(database) == restored["epoch"]


async def test_damaged_blobs_are_told_and_replace_no_good_ones(database: Database, tmp_path: Path) -> None:
    """The hash was compared when the damaged copy had taken the place of the good blob."""
    store, backup = open_blobs(str(tmp_path / "blobs")), tmp_path / "backup"
    operator = _operator(database, tmp_path / "blobs")
    await store.put("uploads/a", b"good")
    await operator.asks("backup", str(backup))
    damaged = await _one(backup / "blobs", "uploads/a")
    damaged.write_bytes(b"evil")
    code, out, _ = await operator.says("restore", str(backup), "--json")
    assert (code, json.loads(out)["wrong"]) == (1, ["uploads/a is not what was copied"])
    assert await store.get("uploads/a") == b"good"

    former = await _epoch(database)
    (backup / "blobs.jsonl").write_text("")
    code, _, err = await operator.says("restore", str(backup))
    assert (code, "blobs.jsonl is not what was written" in err) == (1, True), "a list that was cut off says less"
    assert await _epoch(database) == former


async def _one(store: Path, key: str) -> Path:
    path = open_blobs(str(store)).local_path(key)
    assert path is not None
    return path


async def test_without_a_store_for_blobs_there_is_no_backup_and_no_restore_of_blobs(
    database: Database, tmp_path: Path
) -> None:
    """All blobs went to a store in memory, and both said that all was well."""
    told, untold = _operator(database, tmp_path / "blobs"), _operator(database, tmp_path / "blobs")
    del untold.settings["MILLRACE_BLOBS_URL"]
    await told.asks("backup", str(tmp_path / "without"))
    await open_blobs(str(tmp_path / "blobs")).put("uploads/a", b"a body")
    await told.asks("backup", str(tmp_path / "with"))
    former = await _epoch(database)
    for words in (("backup", str(tmp_path / "none")), ("restore", str(tmp_path / "with"))):
        code, _, err = await untold.says(*words)
        assert (code, err.startswith("MILLRACE_BLOBS_URL is not set. Where MILLRACE_DATABASE_URL is")) == (2, True), err
    assert await _epoch(database) == former
    assert set(os.listdir(tmp_path)) == {"blobs", "without", "with"}
    assert (await untold.says("restore", str(tmp_path / "without")))[0] == 0, "it has none"


async def test_a_backup_whose_uploads_have_no_bytes_in_it_is_told(database: Database, tmp_path: Path) -> None:
    """A MILLRACE_BLOBS_URL that was mistyped, or was another Millrace's, made a backup without blobs, by which all was
    well."""
    operator, store = _operator(database, tmp_path / "blobs"), open_blobs(str(tmp_path / "blobs"))
    async with as_owner(database) as owner:
        await owner.execute(
            "INSERT INTO ingest.uploads (tenant, id, job_id, workflow, options, bytes, sha256, blob) SELECT 'acme', "
            "gen_random_uuid(), gen_random_uuid(), 'csv-profile', '{}', 3, repeat('0', 64), 'uploads/acme/' || number "
            "FROM generate_series(1, 7) AS number"
        )
        for number in range(1, 7):
            await store.put(f"uploads/acme/{number}", b"abc")
        await store.put("uploads/acme/7", b"half")
        code, out, err = await operator.says("backup", str(tmp_path / "monday"), "--json")
        assert (code, json.loads(out)["uploads_without_bytes"]) == (1, ["uploads/acme/7"]), err
        mistyped = str(tmp_path / "blob")
        code, out, err = await operator.says("backup", str(tmp_path / "tuesday"), blobs_url=mistyped)
        assert (code, "0 copied" in out) == (1, True), err
        assert f"Of 7 uploads the bytes are not in this backup, since {mistyped} has none, or others. " in err
        assert err.count("uploads/acme/") == 5, "the first of them"
        assert (tmp_path / "tuesday" / "manifest.json").exists(), "it is kept, as it is"
    async with as_owner(database) as owner:
        await owner.execute("UPDATE ingest.uploads SET deleted_at = now() WHERE blob = 'uploads/acme/7'")
    told = await operator.asks("backup", str(tmp_path / "wednesday"))
    assert (told["blobs"], told["uploads_without_bytes"]) == (7, [])


async def test_the_blobs_of_a_data_directory_are_not_taken_for_those_of_another_database(
    database: Database, tmp_path: Path
) -> None:
    """In the folder of a `make run`, a backup of another deployment had the blobs of that `make run`, and said that all
    was well; the doctor looked for that deployment's uploads among them, and missed them."""
    await open_blobs(str(tmp_path / "run" / "blobs")).put("uploads/a", b"of make run")
    operator = _operator(database, tmp_path / "blobs")
    del operator.settings["MILLRACE_BLOBS_URL"]
    code, _, err = await operator.says("backup", str(tmp_path / "backup"), data_dir=str(tmp_path / "run"))
    assert (code, "MILLRACE_BLOBS_URL is not set" in err) == (2, True), err
    assert os.listdir(tmp_path) == ["run"]
    _, found = await examined(operator, data_dir=str(tmp_path / "run"))
    assert [(one["state"], one["says"]) for one in found["blobs"]] == [("skipped", "MILLRACE_BLOBS_URL is not set")]


async def test_a_backup_is_for_its_owner_alone(database: Database, tmp_path: Path) -> None:
    """Dump and blobs could be read by everybody on the machine."""
    await open_blobs(str(tmp_path / "blobs")).put("uploads/acme/a", b"a body")
    operator, backup = _operator(database, tmp_path / "blobs"), tmp_path / "backups" / "monday"
    await operator.asks("backup", str(backup))
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (backup, *backup.rglob("*"))}
    assert all(mode == (0o700 if path.is_dir() else 0o600) for path, mode in modes.items()), modes
    assert {"database.dump", "blobs.jsonl", "manifest.json", "blobs"} <= {path.name for path in modes}
    assert (await operator.asks("restore", str(backup), "--force"))["wrong"] == []


async def test_a_backup_leaves_the_draft_of_another_one_alone(database: Database, tmp_path: Path) -> None:
    """Two were made in the same folder at once: the second removed what the first was writing."""
    (tmp_path / "backup.partial").mkdir()
    await _operator(database, tmp_path / "blobs").asks("backup", str(tmp_path / "backup"))
    assert set(os.listdir(tmp_path)) >= {"backup", "backup.partial"}


async def test_the_key_pepper_of_an_installation_outlives_restores_that_are_refused(
    database: Database, tmp_path: Path
) -> None:
    """The backup's was written first: after a restore that was refused, no key of the installation was known."""
    backup, data = tmp_path / "backup", tmp_path / "data"
    await _append(database, 1)
    await _operator(database, tmp_path / "blobs").asks("backup", str(backup))
    secrets = backup / "secrets.json"
    secrets.write_text(json.dumps({"key_pepper": "of the first", "admin_key": "mr_live_first"}))
    with open_data_directory(data) as opened:
        own = opened.secrets.key_pepper
    operator = Operator({"MILLRACE_DATA_DIR": str(data)})
    broken = shutil.copytree(backup, tmp_path / "broken")
    _rewrite(broken / "manifest.json", {"revisions": {"events": "0001"}, "head": 0})
    (broken / "database.dump").write_bytes(b"no dump")
    _rewrite(broken / "manifest.json", {"dump_sha256": _sha256(broken / "database.dump")})
    assert (await operator.says("restore", str(broken)))[0] == 1
    assert (kept_key_pepper(data), (data / "admin-key").exists()) == (own, False), "it failed"

    await operator.asks("restore", str(backup))
    assert kept_key_pepper(data) == "of the first"
    assert (data / "admin-key").read_text() == "mr_live_first\n"
    assert (data / "former-key-peppers").read_text() == f"{own}\n"

    secrets.write_text(json.dumps({"key_pepper": "of another", "admin_key": None}))
    assert (await operator.says("restore", str(backup)))[0] == 4, "there is a log"
    assert kept_key_pepper(data) == "of the first"


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
