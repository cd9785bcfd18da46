"""What `millrace doctor` says of a database: each thing that it finds, it finds where it is so, and what it tells to do
mends it."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from chaos.clocks import open_clocks
from events.blobs.blobs import open_blobs
from events.ids import new_id
from events.log.append import AppendRequest
from events.migrate import migrate, revisions
from fixtures.log import as_owner, job_life, note, open_log, request
from fixtures.patient import Patient

_READER = "INSERT INTO events.checkpoints (name, position, epoch) SELECT '{}', 0, epoch FROM events.head"
_A_SUBSCRIBER = _READER.format("subscriber.billing")
_NONE = "DELETE FROM events.checkpoints"


async def _append(patient: Patient, count: int = 1) -> None:
    async with open_log(patient.database) as opened:
        await opened.appender.append(request(*[note("note:1") for _ in range(count)]))


async def test_of_a_healthy_database_it_says_so(patient: Patient) -> None:
    code, found = await patient.examined()
    states = {check: finding["state"] for check, (finding, *_) in found.items()}
    assert {check for check, state in states.items() if state != "ok"} == {"services", "broker"}, found
    assert {states[check] for check in ("services", "broker")} == {"skipped"}, "nobody has told where they are"
    assert found["blobs"][0]["says"] == "The store answers, and there is no upload yet"
    assert "for more than a minute" in found["outboxes"][0]["says"], "what is younger is on its way, and not counted"
    assert code == 0


async def _healed(patient: Patient, check: str, fixes: set[str]) -> None:
    for fix in sorted(fixes):
        await patient.follow(fix)
    code, found = await patient.examined()
    assert (code, {one["state"] for one in found[check]}) == (0, {"ok"}), found[check]


async def test_leave_that_was_taken_or_given_is_told_with_what_gives_or_takes_it_again(patient: Patient) -> None:
    """Leave that was given to a group, or to everybody, was to be taken from each role that has it by that, which takes
    nothing from anybody; and nobody noticed that a group had lost what the migrations had granted once."""
    sicknesses = {
        "REVOKE UPDATE ON processor.jobs FROM millrace_processor": (
            "millrace_processor may not use its table jobs", "millrace migrate (it grants, too)",
        ),
        "REVOKE millrace_reader FROM millrace_notifier": (
            "millrace_notifier is no millrace_reader", "millrace provision",
        ),
        "REVOKE CONNECT ON DATABASE millrace FROM millrace_ingest": (
            "millrace_ingest may not connect to this database", "millrace provision",
        ),
        "REVOKE SELECT ON events.epochs FROM millrace_reader": (
            "millrace_reader may not select events.epochs", "GRANT SELECT ON events.epochs TO millrace_reader",
        ),
        "REVOKE EXECUTE ON FUNCTION events.known FROM millrace_reserver": (
            "millrace_reserver may not execute FUNCTION events.known(text[],uuid[])",
            "GRANT EXECUTE ON FUNCTION events.known(text[],uuid[]) TO millrace_reserver",
        ),
        "GRANT INSERT ON events.events TO millrace_processor": (
            "millrace_processor may write events.events past its functions",
            "REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON events.events FROM millrace_processor",
        ),
        "GRANT DELETE ON events.head TO millrace_appender": (
            "millrace_appender may write events.head past its functions",
            "REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON events.head FROM millrace_appender",
        ),
        "GRANT UPDATE ON events.streams TO PUBLIC": (
            "PUBLIC may write events.streams past its functions",
            "REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON events.streams FROM PUBLIC",
        ),
    }  # fmt: skip
    await patient.suffer("; ".join(sicknesses))
    code, found = await patient.examined()
    told = {(one["says"], one["fix"]) for one in found["grants"] if one["state"] == "wrong"}
    assert (code, told) == (1, set(sicknesses.values()))
    await _healed(patient, "grants", {fix for _, fix in told})


@pytest.mark.parametrize(
    ("cause", "says", "fix"),
    [
        ("GRANT millrace_owner TO millrace_processor", "the log", "REVOKE millrace_owner FROM millrace_processor"),
        (
            "GRANT pg_write_all_data TO millrace_processor", "the log",
            "REVOKE pg_write_all_data FROM millrace_processor",
        ),
        (
            "ALTER TABLE events.head OWNER TO millrace_processor", "events.head",
            "ALTER TABLE events.head OWNER TO millrace_owner",
        ),
    ],
)  # fmt: skip
async def test_who_may_write_the_log_without_having_been_given_leave_is_told(
    patient: Patient, cause: str, says: str, fix: str
) -> None:
    """All was well by the doctor, who looked at nothing but the leave that was given on the tables."""
    await patient.suffer(cause)
    code, found = await patient.examined()
    told = [(one["state"], one["says"], one["fix"]) for one in found["grants"]]
    assert (code, told) == (1, [("wrong", f"millrace_processor may write {says} past its functions", fix)])
    await _healed(patient, "grants", {fix})


async def test_a_role_that_is_not_there_is_told_and_made_again(patient: Patient) -> None:
    await patient.suffer("DROP OWNED BY millrace_notifier; DROP ROLE millrace_notifier")
    code, found = await patient.examined()
    (told,) = found["grants"]
    assert (code, told["state"], told["says"]) == (1, "wrong", "There is no role millrace_notifier")
    await _healed(patient, "grants", {told["fix"]})


async def test_what_makes_the_database_forget_is_told_where_it_was_set(patient: Patient) -> None:
    """What was set for the database was to be corrected for the server, which changes nothing."""
    await patient.suffer("ALTER DATABASE millrace SET synchronous_commit = off")
    code, found = await patient.examined()
    (told,) = found["durability"]
    assert (code, told["state"], told["says"]) == (1, "wrong", "synchronous_commit off")
    await _healed(patient, "durability", {told["fix"]})


async def test_a_clock_that_is_wrong_is_told(patient: Patient, tmp_path: Path) -> None:
    millrace = Path(sys.executable).with_name("millrace")
    ours = {name: value for name, value in os.environ.items() if not name.startswith("MILLRACE_")}
    with open_clocks(tmp_path / "clocks") as clocks:
        settings = clocks.settings_of("doctor")
        clocks.skew("doctor", -60)
        process = await asyncio.create_subprocess_exec(
            millrace, "doctor", "--json",
            env={**ours, **patient.operator.settings, **settings}, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, _ = await process.communicate()
    (told,) = [one for one in json.loads(out)["findings"] if one["check"] == "clock"]
    assert (process.returncode, told["state"]) == (1, "wrong")
    assert 50 < float(told["says"].removeprefix("Ours and the database's are ").removesuffix(" s apart")) < 70
    assert told["fix"] == "Run chrony or ntpd on both. Leases and limits go by the database's clock alone."
    assert (await patient.examined())[1]["clock"][0]["state"] == "ok", "by our own clock"


async def test_a_schema_of_an_older_release_is_migrated_and_one_of_a_newer_is_left_to_that(patient: Patient) -> None:
    """`millrace migrate` said of a newer one that it was a bug of ours, and the doctor that another whose number sorts
    before ours is behind."""
    await patient.suffer("DROP SCHEMA gateway CASCADE")
    code, found = await patient.examined()
    assert (code, found["migrations"][0]["says"]) == (1, "There is no schema gateway")
    assert found["migrations"][0]["fix"] == "millrace migrate"
    await migrate(patient.database.url("owner"), "gateway", to="0001")
    code, found = await patient.examined()
    newest = revisions("gateway")[0]
    assert (code, found["migrations"][0]["says"]) == (1, f"Behind: gateway 0001 (this release: {newest})")
    await patient.follow(found["migrations"][0]["fix"])
    assert (await patient.examined())[0] == 0
    for unknown in ("9999", "0000"):
        await patient.suffer(f"UPDATE gateway.alembic_version SET version_num = '{unknown}'")
        code, found = await patient.examined()
        (told,) = found["migrations"]
        assert (code, told["fix"]) == (1, "Use the release that has migrated it.")
        assert told["says"] == f"Of another release, a newer one: gateway {unknown} (this release: {newest})"
        code, _, err = await patient.operator.says("migrate")
        assert (code, err.startswith("The schema gateway was migrated by a release that this one does not know")) == (
            1,
            True,
        ), err
    await patient.suffer(f"UPDATE gateway.alembic_version SET version_num = '{newest}'")
    assert (await patient.examined())[0] == 0


async def test_a_hole_is_told_and_a_backup_mends_it(patient: Patient, tmp_path: Path) -> None:
    await _append(patient, 3)
    await patient.suffer(_A_SUBSCRIBER)
    backup = str(tmp_path / "backup")
    head = (await patient.operator.asks("backup", backup))["head"]  # others have appended before us
    for cause in (
        "DELETE FROM events.events WHERE position = 2",
        "DELETE FROM events.event_ids WHERE position = 3",
        "UPDATE events.head SET position = 1",
    ):
        await patient.suffer(cause)
        code, found = await patient.examined()
        assert (code, found["log"][0]["state"]) == (1, "wrong"), cause
        assert "`millrace log verify`, and restore a backup" in found["log"][0]["fix"]
        assert (await patient.operator.says("log", "verify"))[0] == 1
    assert found["log"][0]["says"] == (
        f"Of its last 1 events 1 are there, 1 of them with their id, and {head - 2} beyond the head 1"
    )
    assert (await patient.operator.says("restore", backup))[0] == 4, "there is a log"
    assert (await patient.operator.says("restore", backup, "--force"))[0] == 0
    code, found = await patient.examined()
    assert found["log"][0]["says"] == f"Head {head}; no hole in its last {head} events"
    (lag,) = found["lag"]
    assert (code, lag["state"]) == (1, "wrong"), "it is another log, and its subscribers are told"
    await patient.follow(lag["fix"])
    await patient.suffer(_NONE)
    assert (await patient.examined())[0] == 0


async def test_a_log_that_has_moved_is_told_and_nothing_has_to_be_done(patient: Patient) -> None:
    await patient.suffer("UPDATE events.epochs SET place = '1/1/1'")
    code, found = await patient.examined()
    (told,) = found["epoch"]
    assert (code, told["state"], told["fix"][:35]) == (0, "warn", "Nothing: the next append makes anot"), told
    await _append(patient)
    code, found = await patient.examined()
    assert (code, found["epoch"][0]["state"]) == (0, "ok")


async def test_a_reader_that_has_fallen_behind_is_told_until_it_has_read(patient: Patient) -> None:
    await _append(patient)
    await patient.suffer("UPDATE events.events SET time = now() - interval '1 hour'")
    await patient.suffer(f"{_A_SUBSCRIBER}; {_READER.format('relay.feed')}")
    code, found = await patient.examined()
    fixes = {one["says"].split()[0]: one["fix"] for one in found["lag"] if one["state"] == "warn"}
    assert code == 0, "it is nothing to be woken for"
    assert fixes.keys() == {"relay.feed", "subscriber.billing"}
    assert fixes["relay.feed"].startswith("The processors, and their broker: look whether they run")
    assert fixes["subscriber.billing"].startswith("The service that subscribes as billing: look whether they run")
    said = (0, "billing goes on after position 0.\n", "")
    assert await patient.operator.says("replay", "billing", "0") == said, "it said nothing, and was done"
    await patient.suffer("UPDATE events.checkpoints SET position = (SELECT position FROM events.head)")
    _, found = await patient.examined()
    assert {one["state"] for one in found["lag"]} == {"ok"}
    await patient.suffer(_NONE)


async def test_a_job_that_no_worker_would_look_at_is_told_and_a_rebuild_finds_it(patient: Patient) -> None:
    created = job_life()[0]
    async with open_log(patient.database, function="processor.append") as opened:
        await opened.appender.append(AppendRequest(created.tenant, created.subject, (created,)))
    await patient.suffer("DELETE FROM processor.queue")
    code, found = await patient.examined()
    (told,) = found["jobs"]
    assert (code, told["says"]) == (1, "1 unfinished jobs are not in the queue")
    await patient.follow(told["fix"])
    code, found = await patient.examined()
    assert (code, found["jobs"][0]["says"]) == (0, "1 unfinished, none of them forgotten")


async def test_an_upload_is_looked_for_at_once_and_named_if_its_bytes_are_not_there(patient: Patient) -> None:
    """It said that it has the newest 0 uploads, for the first minute of each."""
    id_ = new_id()
    blob = f"uploads/acme/{id_}"
    blobs = open_blobs(str(patient.blobs))
    async with as_owner(patient.database) as owner:
        await owner.execute(
            "INSERT INTO ingest.uploads (tenant, id, job_id, workflow, options, bytes, sha256, blob) "
            "VALUES ('acme', $1, $2, 'csv-profile', '{}', 3, repeat('0', 64), $3)", id_, new_id(), blob
        )  # fmt: skip
    for content, says in ((None, "is gone"), (b"a", "has 1 of 3 bytes")):
        if content is not None:
            await blobs.put(blob, content)
        code, found = await patient.examined()
        (told,) = found["blobs"]
        assert (code, told["state"], told["says"]) == (1, "wrong", f"What was uploaded as {blob} {says}")
        assert told["fix"] == "Look at the store, its credentials, and its lifecycle rules."
    await blobs.delete(blob)
    await blobs.put(blob, b"abc")
    code, found = await patient.examined()
    assert (code, found["blobs"][0]["says"]) == (0, "The store answers, and it has the newest upload")
    await blobs.delete(blob)
    await patient.suffer("UPDATE ingest.uploads SET deleted_at = now()")
    assert (await patient.examined())[0] == 0, "nobody asks for what was deleted"
