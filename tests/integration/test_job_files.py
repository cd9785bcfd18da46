"""What steps leave and nobody needs is removed: what a killed attempt had stored, and what was staged."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from chaos.test_kill_matrix import KILLPOINT
from deploy.provision import Database
from events.blobs.blobs import open_blobs
from events.ids import new_id
from fixtures.blobs import keys
from fixtures.killable import Machine, Notes
from fixtures.parts import OpenParts
from fixtures.processor import OpenProcessor, Processor
from fixtures.s3 import Bucket
from processor.job_files import JobFiles

DAY = 86_400.0
FILES = {"artifacts/a.csv": "a\n", "staged/part": "x"}


def leaving(blob: str, **options: Any) -> dict[str, Any]:
    return {"uses": "csv-profile", "with": {"blob": blob, "options": {"do": "leave", "files": FILES, **options}}}


def reading(blob: str, *, gate: Path) -> dict[str, Any]:
    """Fails until the gate is there; then it reads what was staged."""
    ready = {"uses": "csv-profile", "with": {"blob": blob, "options": {"do": f"unless {gate}"}}, "depends": ["make"]}
    staged = "${{ steps.make.output.keys['staged/part'] }}"
    read = {"uses": "csv-profile", "with": {"blob": staged, "options": {"do": "read"}}, "depends": ["ready"]}
    return {"make": leaving(blob), "ready": ready, "read": read}


async def left(processor: Processor) -> list[str]:
    """Of what steps have left, the kind and the name."""
    found = await keys(processor.parts.blobs, "artifacts") + await keys(processor.parts.blobs, "staged")
    return [f"{key.split('/')[0]}/{key.split('/')[-1]}" for key in found]


async def noted(processor: Processor) -> set[UUID]:
    return {row["job_id"] for row in await processor.parts.pool.fetch("SELECT job_id FROM processor.job_files")}


async def age(processor: Processor, job_id: UUID, seconds: float) -> None:
    """As if the job had ended so long ago."""
    statement = "UPDATE processor.jobs SET finished_at = finished_at - make_interval(secs => $2) WHERE id = $1"
    await processor.parts.pool.execute(statement, job_id, seconds)


async def swept(processor: Processor) -> list[str]:
    await JobFiles(processor.parts, staged_seconds=DAY).sweep()
    return await left(processor)


async def test_a_completed_job_keeps_its_artifacts_alone(open_processor: OpenProcessor) -> None:
    async with open_processor(obedient=True) as processor:
        given = await processor.store(b"x")
        job_id = await processor.flow({"make": leaving(given), "ask": {"uses": "approve", "with": {"question": "?"}}})
        await processor.watch.became(job_id, "make", "COMPLETED")
        assert await swept(processor) == ["artifacts/a.csv", "staged/part"], "it is under way"
        assert await noted(processor) == {job_id}
        await processor.say(job_id, "signals/ask", {"approved": True})
        await processor.finished(job_id)
        assert await swept(processor) == ["artifacts/a.csv"]
        assert await noted(processor) == set()
        _, listed = await processor.get(f"/jobs/{job_id}/artifacts")
        assert await processor.parts.blobs.get(listed["items"][0]["blob"]) == b"a\n"
        assert given in await keys(processor.parts.blobs)


async def test_what_a_failed_job_has_staged_waits_for_its_retry(open_processor: OpenProcessor, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with open_processor(obedient=True) as processor:
        first = await processor.flow(reading(await processor.store(b""), gate=gate))
        await processor.finished(first)
        assert await swept(processor) == ["artifacts/a.csv", "staged/part"]
        _, again = await processor.post(f"/jobs/{first}/retry")
        await processor.finished(UUID(again["id"]))
        await age(processor, first, DAY + 60)
        assert await swept(processor) == ["artifacts/a.csv", "staged/part"], "its retry has just failed"
        gate.touch()
        _, last = await processor.post(f"/jobs/{again['id']}/retry")
        ended = await processor.finished(UUID(last["id"]))
        assert ended["status"] == "COMPLETED", ended["error"]
        await age(processor, UUID(again["id"]), DAY + 60)
        assert await swept(processor) == ["artifacts/a.csv"]
        assert (await processor.get(f"/jobs/{last['id']}/artifacts"))[1]["items"][0]["bytes"] == 2


async def test_a_retry_that_comes_too_late_says_what_is_missing(open_processor: OpenProcessor, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with open_processor(obedient=True) as processor:
        job_id = await processor.flow(reading(await processor.store(b""), gate=gate))
        await processor.finished(job_id)
        await age(processor, job_id, DAY + 60)
        assert await swept(processor) == ["artifacts/a.csv"]
        gate.touch()
        _, again = await processor.post(f"/jobs/{job_id}/retry")
        ended = await processor.finished(UUID(again["id"]))
        assert (ended["status"], ended["error"]["code"]) == ("FAILED", "staged_missing")


async def test_what_a_killed_attempt_has_stored_is_removed(
    machine: Machine, notes: Notes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The processor dies when the step's files are stored, and before the log is told of them."""
    armed, go = tmp_path / "armed", tmp_path / "go"
    with monkeypatch.context() as environment:
        for name, value in {"KILL_AT": "append:before:1", "KILL_ARMED": armed, "PYTHONPATH": KILLPOINT}.items():
            environment.setenv(name, str(value))
        doomed = await machine.start()
    processor = machine.client
    step = leaving(await processor.store(b""), do=f"leave {go}", note=str(notes.path), **{"as": "begun"})
    job_id = await processor.flow({"make": step})
    await notes.until("begun")
    armed.touch()
    go.touch()
    await doomed.process.wait()
    assert await left(processor) == ["artifacts/a.csv", "staged/part"]
    assert await noted(processor) == {job_id}
    untold = await keys(processor.parts.blobs, "artifacts")

    await machine.start()
    assert (await processor.finished(job_id))["status"] == "COMPLETED"
    assert await swept(processor) == ["artifacts/a.csv"]
    _, listed = await processor.get(f"/jobs/{job_id}/artifacts")
    (told,) = listed["items"]
    assert told["blob"] not in untold
    assert await processor.parts.blobs.get(told["blob"]) == b"a\n"


async def test_who_cancels_a_job_does_not_wait_for_its_files(
    open_processor: OpenProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step's process hears by itself that nobody wants it; the store, which may be slow, does not."""
    storing = asyncio.Event()

    async def never_ends(path: Path, key: str) -> None:
        storing.set()
        await asyncio.Event().wait()

    async with open_processor(obedient=True) as processor:
        monkeypatch.setattr(processor.parts.blobs, "adopt", never_ends)
        job_id = await processor.flow({"make": leaving(await processor.store(b""))})
        await storing.wait()
        await processor.say(job_id, "cancel")
        job = await processor.finished(job_id)
        assert (job["status"], job["steps"][0]["status"]) == ("CANCELLED", "CANCELLED")


async def test_a_store_that_is_away_is_asked_again(
    database: Database, open_parts_for: OpenParts, bucket: Bucket
) -> None:
    job_id = new_id()
    async with open_parts_for("processor", database) as parts:
        await parts.pool.execute(
            "INSERT INTO processor.jobs (tenant, id, workflow, status, progress_percent, version, position, input,"
            " created_at, finished_at, updated_at)"
            " VALUES ('acme', $1, 'w', 'COMPLETED', 100, 1, 1, '{}', now(), now(), now())",
            job_id,
        )
        blobs = open_blobs(bucket.url, patience=0.3)
        files = JobFiles(replace(parts, blobs=blobs), staged_seconds=DAY)
        async with files.noted("acme", job_id):
            await blobs.put(f"staged/acme/{job_id}/a.1.1/part", b"x")
        await bucket.way.close()
        assert not await files.sweep()
        await bucket.way.mend()
        assert len(await bucket.keys()) == 1
        await files.sweep()
        assert await bucket.keys() == []
        assert await parts.pool.fetch("SELECT FROM processor.job_files") == []


async def test_who_was_thought_dead_stores_nothing_unnoted(open_processor: OpenProcessor) -> None:
    """Somebody else had ended the job, and its files were removed with their note, while a stopped processor was in the
    middle of storing one."""
    async with open_processor(obedient=True) as processor:
        job = await processor.outcome({"make": leaving(await processor.store(b""))})
        job_id = UUID(job["id"])
        files = JobFiles(processor.parts, staged_seconds=DAY)
        async with files.noted("acme", job_id):
            assert await swept(processor) == ["artifacts/a.csv"]
            await processor.parts.blobs.put(f"artifacts/acme/{job_id}/make.1.1/late.csv", b"x")
        assert await swept(processor) == ["artifacts/a.csv"]
