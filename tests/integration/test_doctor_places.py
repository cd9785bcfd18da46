"""What `millrace doctor` says of the machine, and of the services behind a gateway."""

import shlex
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from aiohttp import web

from chaos.small_disk import small_disk
from deploy.checks.database import check_database
from deploy.checks.finding import Finding
from deploy.checks.machine import check_machine
from deploy.checks.services import check_services
from deploy.data_directory import open_data_directory
from deploy.provision import Database
from deploy.target import Target
from events.broker.memory import MemoryBroker
from events.delivery.outbox import Outbox
from fixtures.log import as_owner, job_life, open_log, request
from fixtures.parts import OpenParts
from fixtures.processor import TERMINAL, OpenProcessor, stored_upload


def _of(path: Path, check: str) -> Finding:
    """The machine, as of a Millrace in that directory."""
    (found,) = [one for one in check_machine(Target(path, running=True)) if one.check == check]
    return found


def test_files_that_others_may_read_are_told_with_what_may_be_pasted(tmp_path: Path) -> None:
    """The path was not quoted, and half of it was told to chmod."""
    path = tmp_path / "it's a data dir"
    with open_data_directory(path):
        assert _of(path, "directory").state == "ok"
        (path / "secrets.json").chmod(0o640)
        told = _of(path, "directory")
        assert (told.state, told.says) == ("wrong", f"Others may read {path / 'secrets.json'}")
        assert told.fix is not None
        subprocess.run(shlex.split(told.fix), check=True)
        assert _of(path, "directory").state == "ok"


def test_a_directory_of_another_layout_or_without_its_secrets_is_told(tmp_path: Path) -> None:
    with open_data_directory(tmp_path / "data") as data:
        secrets, layout = (data.path / "secrets.json"), (data.path / "version")
        kept, known = secrets.read_text(), layout.read_text()
        secrets.write_text("{")
        told = _of(data.path, "directory")
        assert (told.state, told.says) == ("wrong", "secrets.json is missing, or no JSON")
        assert "Restore it from a backup" in (told.fix or "")
        secrets.write_text(kept)
        layout.write_text("99\n")
        told = _of(data.path, "directory")
        assert (told.says, told.fix) == (
            f"Its layout is 99, and this release reads {known.strip()}", "Run the release that made it.",
        )  # fmt: skip
        layout.write_text(known)
        assert _of(data.path, "directory").state == "ok"


def test_a_disk_that_is_nearly_full_is_told_until_there_is_room(tmp_path: Path) -> None:
    """Where we may not mount one, no disk of ours is small."""
    with small_disk(tmp_path / "disk", 64 << 20) as disk:
        if disk is None:
            return
        for options, state in (("size=64m", "wrong"), ("size=600m", "warn"), ("size=2g", "ok")):
            subprocess.run(["mount", "-o", f"remount,{options}", str(disk.path)], check=True)
            told = _of(disk.path, "disk")
            assert told.state == state, told
            assert (told.fix or "").startswith("Make room: PostgreSQL stops when it is full." if told.fix else "")
        subprocess.run(["mount", "-o", "remount,ro", str(disk.path)], check=True)
        says = [one.says for one in check_machine(Target(disk.path, running=True)) if one.check == "directory"]
        assert f"We may not write to {disk.path}" in says


@asynccontextmanager
async def _gateway(details: Mapping[str, Any], down: Mapping[str, str]) -> AsyncIterator[str]:
    """One that says so of the services behind it."""

    async def health(_: web.Request) -> web.Response:
        return web.json_response({"broker": "ok", "database": "ok", "storage": "ok", **down})

    async def detailed(request: web.Request) -> web.Response:
        known = request.headers.get("Authorization") == "Bearer a-key"
        return web.json_response({"details": details}, status=200 if known else 401)

    app = web.Application()
    app.add_routes([web.get("/health", health), web.get("/health/detailed", detailed)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def _told(monkeypatch: pytest.MonkeyPatch, url: str, key: str) -> dict[str, tuple[str, str, str | None]]:
    """By a gateway elsewhere."""
    monkeypatch.setenv("MILLRACE_URL", url)
    monkeypatch.setenv("MILLRACE_KEY", key)
    return {one.check: (one.state, one.says, one.fix) for one in await check_services(Target(None, running=True))}


async def test_services_of_another_release_that_halt_or_are_away_are_told_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours = version("millrace-deploy")
    fine = {"state": "ok", "version": ours, "uptime_seconds": 5.0}
    details = {
        "gateway": fine,
        "ingest": fine | {"version": "9.9.9"},
        "processor": fine | {"halted_loops": ["relay"]},
        "notifier": {"state": "down"},
    }
    async with _gateway(details, {"broker": "down"}) as url:
        told = await _told(monkeypatch, url, "a-key")
        ask_for_a_key = (await _told(monkeypatch, url, "another"))["services"]
    nobody = await _told(monkeypatch, url, "a-key")
    async with _gateway(dict.fromkeys(details, fine), {}) as url:
        healed = await _told(monkeypatch, url, "a-key")
    assert told.pop("door")[0] == "ok"
    assert told == {
        "health": ("down", "By the services: no broker", "What is down is in these lines; its own log says why."),
        "gateway": ("ok", "ok, up 5 s", None),
        "ingest": ("warn", f"It is 9.9.9, and this command {ours}", "Fine during an upgrade; else finish it."),
        "processor": ("wrong", "Halted: relay", "Read its log for `loop halted`, mend that, restart processor."),
        "notifier": ("down", "It does not answer its gateway", "Start it; read logs/notifier.log."),
    }
    assert ask_for_a_key[::2] == ("skipped", "Set MILLRACE_KEY to a key with the scope ops.")
    assert nobody["door"][::2] == ("down", "Start a gateway, or correct MILLRACE_URL.")
    assert {state for state, _, _ in healed.values()} == {"ok"}


async def test_of_a_directory_on_which_nothing_runs_it_says_what_starts_it(tmp_path: Path) -> None:
    (tmp_path / "rabbitmq").mkdir()
    (told,) = await check_services(Target(tmp_path, running=False))
    assert (told.state, told.says, told.fix) == ("down", f"Nothing runs on {tmp_path}", "make stack")


async def test_what_waits_for_a_processor_is_told_until_one_runs(
    database: Database, open_processor: OpenProcessor, open_parts_for: OpenParts
) -> None:
    """A promise of ten minutes ago, and a job that nobody takes, whose worker is gone then."""

    async def told() -> dict[str, tuple[str, str, str | None]]:
        found = await check_database(database.url("owner"), None)
        return {one.check: (one.state, one.says, one.fix) for one in found}

    broker, created = MemoryBroker(), job_life()[0]
    async with open_parts_for("ingest", database, broker) as parts, as_owner(database) as owner:
        event, _ = await stored_upload(parts, b"a,b\n1,2\n")
        old = msgspec.structs.replace(event, id=UUID(int=event.id.int - (600_000 << 80)))
        outbox = Outbox(parts, schema="ingest", retry_seconds=0)
        async with owner.transaction():
            await outbox.open(owner, old)
        async with open_log(database, function="processor.append") as opened:
            await opened.appender.append(request(created))
        await owner.execute("UPDATE processor.queue SET due_at = now() - interval '5 minutes'")
        found = await told()
        assert found["outboxes"][:2] == ("warn", "ingest: 1 open, the oldest for 10m")
        assert (found["outboxes"][2] or "").startswith("Look whether broker, processors and this service run")
        state, says, fix = found["jobs"]
        assert (state, says.startswith("1 jobs have been due for up to ")) == ("warn", True)
        assert fix == "Add processors, or raise MILLRACE_JOBS_AT_ONCE and MILLRACE_WORKERS."
        await owner.execute("UPDATE processor.queue SET worker = 'gone', expires_at = now() - interval '1 minute'")
        gone = "1 jobs are held by workers that are gone, and nobody takes them"
        assert (await told())["jobs"] == ("wrong", gone, "Start a processor.")
        async with open_processor(broker) as processor:
            await outbox.sweep()
            await processor.watch.nth(event.subject, event.type, 1)
            await outbox.sweep()
            await processor.watch.until(UUID(created.subject.removeprefix("job:")), *TERMINAL)
        found = await told()
    assert (found["outboxes"][0], found["jobs"][0]) == ("ok", "ok"), found
