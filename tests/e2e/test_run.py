"""`make run` as its user meets it: a process, its console, its exit code, and a directory that stays."""

import asyncio
import json
import os
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
import pytest_asyncio

from events.ids import new_id
from fixtures.client import Client
from fixtures.millrace import NO_SETTINGS, Run, running, spawn
from fixtures.operator import Operator
from fixtures.patient import examined

_WATCH = Path(__file__).parents[2] / "deploy" / "examples" / "watch.py"


async def refusal(data: Path, *, port: int = 0, settings: Mapping[str, str] = NO_SETTINGS, code: int = 1) -> str:
    """What a Millrace that must not start says on its console."""
    process = await spawn(data, port=port, settings=settings)
    assert process.stdout is not None
    started = await process.stdout.readline()
    if started:
        process.kill()
    _, err = await process.communicate()
    assert (started, process.returncode) == (b"", code), err.decode()
    return err.decode()


async def paste(line: str) -> dict[str, Any]:
    shell = await asyncio.create_subprocess_shell(line, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    out, err = await shell.communicate()
    assert shell.returncode == 0, err.decode()
    return dict(json.loads(out))


@pytest_asyncio.fixture(scope="module")
async def run(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Run]:
    """One for all who leave it as it was, in a directory whose name is hard to paste."""
    async with running(tmp_path_factory.mktemp("run") / "it's a data dir") as run:
        yield run


async def test_the_printed_curl_line_works_as_pasted_and_its_job_completes(run: Run) -> None:
    """Also where the directory has spaces and quotes."""
    accepted = await paste(run.curl)
    async with Client(run.url, run.admin_key) as client:
        seen = await client.watch(accepted["job_id"])
        job = await client.get_until_answered(f"/api/v1/jobs/{accepted['job_id']}")
    assert seen.frames[-1]["status"] == "COMPLETED"
    assert job["result"]["rows"] == 2


async def test_secrets_are_readable_by_their_owner_only(run: Run) -> None:
    for name in ("admin-key", "secrets.json"):
        assert stat.S_IMODE((run.data / name).stat().st_mode) == 0o600


async def test_a_second_millrace_on_the_same_directory_is_refused(run: Run) -> None:
    sentence = await refusal(run.data)
    assert run.process.returncode is None
    assert sentence.count("\n") == 1
    assert f"Another Millrace is running on {run.data}." in sentence
    async with aiohttp.ClientSession() as session, session.get(f"{run.url}/ping") as response:
        assert response.status == 200


async def test_ctrl_c_stops_it_cleanly_and_leaves_no_process_behind(tmp_path: Path) -> None:
    async with running(tmp_path / "data") as run:
        assert await run.end(signal.SIGINT) == 0
        assert not (run.data / "postgres" / "data" / "postmaster.pid").exists()


async def test_a_second_run_after_kill_9_continues_where_the_first_was(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with running(data) as first:
        key = first.admin_key
        accepted = await paste(first.curl)
        assert await first.end(signal.SIGKILL) == -signal.SIGKILL
    async with running(data) as second, Client(second.url, key) as client:
        seen = await client.watch(accepted["job_id"])
    assert second.admin_key == key
    assert seen.frames[-1]["status"] == "COMPLETED"
    assert seen.versions == list(range(1, len(seen.versions) + 1))


async def test_dead_letters_are_replayed_by_its_gateway_and_those_of_other_tenants_are_named(run: Run) -> None:
    """Of those it was said that all were replayed. The doctor warns of what is left, which is no reason to be woken."""
    operator = Operator({"MILLRACE_DATA_DIR": str(run.data)})
    owner = await asyncpg.connect(run.database_url)
    try:
        tenants = {new_id(): tenant for tenant in ("default", None, "other")}
        for id_, tenant in tenants.items():
            await owner.execute(
                "INSERT INTO processor.dead_letters "
                "(id, queue, message_id, tenant, routing_key, headers, body, reason, attempts) "
                "VALUES ($1, 'millrace.intake', $2, $3, 'upload.completed', '{}', 'no event', 'a test', 5)",
                id_, str(id_), tenant,
            )  # fmt: skip
        *_, left = map(str, tenants)
        code, out, err = await operator.says("dead-letters", "replay", "--all")
        assert (code, out, left in err) == (4, "Replayed 2 of 3 dead letters.\n", True), err
        code, found = await examined(operator)
        (told,) = found["dead letters"]
        assert (code, told["state"], told["fix"]) == (
            0, "warn", "millrace dead-letters list; then replay what was mended",
        )  # fmt: skip
        theirs = await operator.asks("keys", "create", "theirs", "--tenant", "other", "--scope", "ops")
        assert (await operator.says("dead-letters", "replay", left, key=theirs["key"]))[0] == 0
    finally:
        await owner.execute("TRUNCATE processor.dead_letters")
        await owner.close()


async def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sentence = await refusal(tmp_path / "data", port=port)
    assert sentence == (
        f"Cannot listen on 127.0.0.1:{port} (Address already in use). Set MILLRACE_PORT to a free port.\n"
    )


async def test_an_unwritable_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()  # not even root may make a directory in a file
    data = tmp_path / "file" / "data"
    assert await refusal(data) == (
        f"Cannot write to {data} (Not a directory). Set MILLRACE_DATA_DIR to a directory that you may write to.\n"
    )


async def test_a_directory_of_another_version_is_named_and_left_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "version").write_text("99\n")
    sentence = await refusal(data)
    assert sentence.startswith(f"{data} holds data of version 99, and this Millrace reads version 1.")
    assert sorted(file.name for file in data.iterdir()) == ["lock", "version"]


async def test_a_wrong_setting_is_named(tmp_path: Path) -> None:
    assert (await refusal(tmp_path / "data", port=70_000, code=2)).startswith("Settings are wrong: MILLRACE_PORT:")


async def test_a_broker_that_it_would_not_use_is_refused(tmp_path: Path) -> None:
    said = await refusal(tmp_path / "data", settings={"MILLRACE_BROKER_URL": "amqp://millrace:hunter2@127.0.0.1/x"})
    assert said.startswith("MILLRACE_BROKER_URL is set, and `make run` has a broker of its own")
    assert said.count("\n") == 1
    assert "hunter2" not in said


async def test_a_database_that_it_will_not_use_is_named(tmp_path: Path) -> None:
    """It was ignored in silence, and who had it set looked for his jobs in the wrong database."""
    urls = {
        "MILLRACE_DATABASE_URL": "postgresql://millrace_owner:hunter2@127.0.0.1/x",
        "MILLRACE_BROKER_URL": "amqp://x",
    }
    warned, refused = (await refusal(tmp_path / "data", settings=urls)).splitlines()
    assert warned.startswith("MILLRACE_DATABASE_URL is set, and not used: this runs a database of its own, in ")
    assert "hunter2" not in warned
    assert "MILLRACE_BROKER_URL" in refused


async def test_the_example_that_watches_a_job_says_in_one_line_why_it_cannot(run: Run, tmp_path: Path) -> None:
    """It showed tracebacks."""
    wrong_key = tmp_path / "key"
    wrong_key.write_text("mr_live_wrong")
    unknown, right_key = "01a1fbea-6fbc-7335-a459-98abf90680e7", run.data / "admin-key"
    for url, words, says in (
        (run.url, (unknown, str(right_key)), "There is no such job"),
        (run.url, (unknown, str(wrong_key)), f"{run.url} says: "),
        (run.url, (unknown, str(tmp_path / "no-key")), "There is no key to be read in "),
        ("http://127.0.0.1:1", (unknown, str(right_key)), "Nobody answers at http://127.0.0.1:1"),
        (run.url, (), "Say which job"),
    ):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            _WATCH,
            *words,
            env={**os.environ, "MILLRACE_URL": url},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = (said.decode() for said in await process.communicate())
        assert (process.returncode, out, err.count("\n")) == (1, "", 1), err
        assert says in err


async def test_who_watches_a_job_of_a_workflow_that_was_published_again_knows_where_it_is(run: Run) -> None:
    """The frame of job.created had `version` twice, the event's and the workflow's, and parsers took the latter. So the
    example went on after the eighth event of a job that had one: it missed seven in silence, or was refused."""
    headers = {"Authorization": f"Bearer {run.admin_key}"}
    async with aiohttp.ClientSession(run.url, headers=headers) as session:
        for number in range(1, 9):
            steps = {"say": {"uses": "emit", "with": {"data": {"number": number}}}}
            async with session.put("/api/v1/workflows/again", json={"name": "again", "steps": steps}) as published:
                assert (await published.json())["version"] == number
        async with session.post("/api/v1/jobs", json={"workflow": "again"}) as started:
            job_id = (await started.json())["id"]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            _WATCH,
            job_id,
            str(run.data / "admin-key"),
            env={**os.environ, "MILLRACE_URL": run.url},
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        assert process.returncode == 0
        lines = [line.split()[:2] for line in out.decode().splitlines()]
        assert lines[:2] == [["1", "job.created"], ["2", "job.started"]]
        assert [int(version) for version, _ in lines] == list(range(1, len(lines) + 1))
        async with session.ws_connect(f"/ws/{job_id}?after=0") as socket:
            frame = json.loads((await socket.receive()).data, object_pairs_hook=list)
    assert [value for name, value in frame if "version" in name] == [1, 8]
    assert [name for name, _ in frame if "version" in name] == ["version", "workflow_version"]


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("MILLRACE_WORKERS", "0", "MILLRACE_WORKERS: Input should be greater than or equal to 1."),
        ("MILLRACE_LIMITS", '{"read":{"subject":7}}', "MILLRACE_LIMITS.read.subject: Input should be"),
        ("MILLRACE_TRUSTED_PROXIES", "anybody", 'for field "trusted_proxies"'),
        (
            "MILLRACE_BLOBS_URL",
            "s3:/bucket",
            "MILLRACE_BLOBS_URL: it begins with s3://, gs://, az:// or file://.",
        ),
        ("MILLRACE_HOST", "192.0.2.1", "Set MILLRACE_HOST to an address of this machine."),
    ],
)
async def test_a_wrong_setting_of_any_service_is_one_sentence(
    tmp_path: Path, name: str, value: str, sentence: str
) -> None:
    said = await refusal(tmp_path / "data", settings={name: value})
    assert sentence in said
    assert said.count("\n") == 1
