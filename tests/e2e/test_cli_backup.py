"""A backup of a Millrace that works, restored elsewhere: another log, with every job that the first had promised."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from fixtures.client import Client
from fixtures.millrace import running
from fixtures.operator import Operator

_BODY = b"name,age\n" + b"Ada,36\nGrace,45\n" * 2000
_ASKS = """
name: asks
steps:
  ask: {uses: approve, with: {question: "Go on?"}}
output: {by: "${{ steps.ask.output.by }}"}
"""


def _at(directory: Path) -> Operator:
    return Operator({"MILLRACE_DATA_DIR": str(directory)})


async def test_a_backup_under_load_is_restored_elsewhere_as_another_log_that_finishes_every_job(tmp_path: Path) -> None:
    source, other, backup = tmp_path / "source", tmp_path / "other", tmp_path / "backups" / "monday"
    async with running(source) as first, Client(first.url, first.admin_key) as client:
        waiting = await _job_that_waits(first.url, first.admin_key)
        await client.upload(_BODY)
        uploading = asyncio.create_task(_upload_until_cancelled(client))
        former = await _at(source).asks("backup", str(backup))
        uploading.cancel()
        assert (await _at(source).says("restore", str(backup)))[0] == 4, "it runs"
        assert (await _at(source).says("backup", str(backup)))[0] == 1, "it is there already"
    code, out, err = await _at(other).says("restore", str(backup), "--json")
    assert code == 0, err
    restored = json.loads(out)
    assert (restored["events"], restored["wrong"]) == (former["head"], [])
    assert restored["epoch"] != former["epoch"]
    assert (await _at(other).says("restore", str(backup)))[0] == 4, "there is a log"

    async with running(other) as second, Client(second.url, first.admin_key) as client:
        await _assert_refused(second.url, first.admin_key, waiting, former["epoch"])
        signal = f"/api/v1/jobs/{waiting}/signals/ask"
        await client.send("POST", signal, {"approved": True})
        assert (await client.watch(waiting)).frames[-1]["status"] == "COMPLETED"
        jobs = await _at(other).asks("jobs", "list", "--limit", "1000")
        assert len(jobs) > 1
        for job in jobs:
            assert (await client.watch(job["id"])).frames[-1]["status"] == "COMPLETED"
        assert (await _at(other).asks("log", "verify"))["clean"]
        epochs = await _at(other).asks("log", "epochs")
        assert [one["epoch"] for one in epochs] == [former["epoch"], restored["epoch"]]

    (backup / "database.dump").write_bytes((backup / "database.dump").read_bytes()[:-100])
    code, _, err = await _at(other).says("restore", str(backup), "--force")
    assert (code, "the backup is damaged" in err) == (1, True)
    shutil.rmtree(backup / "blobs")
    assert (await _at(other).asks("log", "verify"))["clean"], (
        "nothing was touched; its PostgreSQL ran for the command alone"
    )


async def _job_that_waits(url: str, key: str) -> str:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/yaml"}
    async with aiohttp.ClientSession(url, headers=headers) as session:
        async with session.put("/api/v1/workflows/asks", data=_ASKS) as answer:
            assert answer.status < 300, await answer.text()
        async with session.post(
            "/api/v1/workflows/asks/jobs", json={"input": {}}, headers={"Content-Type": "application/json"}
        ) as answer:
            assert answer.status == 202, await answer.text()
            return str((await answer.json())["id"])


async def _upload_until_cancelled(client: Client) -> None:
    while True:
        await client.upload(_BODY)


async def _assert_refused(url: str, key: str, job_id: str, epoch: str) -> None:
    """On every transport, in so many words."""
    async with aiohttp.ClientSession(url, headers={"Authorization": f"Bearer {key}"}) as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(f"/ws/{job_id}?after={epoch}.1")
        assert refused.value.status == 410
        async with session.get(f"/api/v1/jobs/{job_id}/events?after={epoch}.1") as answer:
            assert (answer.status, (await answer.json())["code"]) == (410, "cursor_expired")
        headers = {"Last-Event-ID": f"{epoch}.1"}
        async with session.get(f"/connection/sse?channel=job:{job_id}", headers=headers) as stream:
            told = await anext(line async for line in stream.content if line.startswith(b"event:"))
            assert told.split() == [b"event:", b"gap"]
        told_by_centrifugo = await _recover(session, key, f"job:{job_id}", epoch)
        assert told_by_centrifugo["was_recovering"] is True
        assert not told_by_centrifugo.get("recovered")


async def _recover(session: aiohttp.ClientSession, key: str, channel: str, epoch: str) -> dict[str, Any]:
    async with session.ws_connect("/connection/websocket") as socket:
        await socket.send_json({"id": 1, "connect": {"token": key}})
        assert "connect" in (await socket.receive_json())
        wish = {"channel": channel, "recover": True, "offset": 1, "epoch": epoch}
        await socket.send_json({"id": 2, "subscribe": wish})
        return dict((await socket.receive_json())["subscribe"])
