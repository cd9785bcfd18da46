"""The clients of docs/realtime.md, run as they stand there, each follow a job from its first event to its end."""

import asyncio
import json
import os
import re
import sys
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from deploy.stack import Stack
from fixtures.node import beside_modules, installed_node

pytestmark = pytest.mark.timeout(600)  # the first time, Node is fetched

PAGE = (Path(__file__).parents[2] / "docs" / "realtime.md").read_text()
CLIENTS = re.findall(r"```(js|python|sh)\n(.*?)```", PAGE.split("\n## Clients in ten lines\n")[1], re.DOTALL)
NAMES = [f"{kind}-{number}" for number, (kind, _) in enumerate(CLIENTS)]


@pytest_asyncio.fixture
async def environment(stack: Stack) -> dict[str, str]:
    """Of a client that follows a job, which is being worked on when it comes."""
    headers = {"Authorization": f"Bearer {stack.admin_key}"}
    async with aiohttp.ClientSession(stack.base_url, headers=headers) as session:
        data = b"name,age\n" + b"ada,36\n" * 100_000
        async with session.post("/api/v1/uploads?workflow=csv-profile", data=data) as accepted:
            job_id = (await accepted.json())["job_id"]
    return {**os.environ, "URL": stack.base_url, "KEY": stack.admin_key, "JOB": job_id}


async def types_of(stack: Stack, job_id: str) -> list[str]:
    headers = {"Authorization": f"Bearer {stack.admin_key}"}
    url = f"/api/v1/jobs/{job_id}/events?limit=200"
    async with aiohttp.ClientSession(stack.base_url, headers=headers) as session, session.get(url) as answer:
        return [event["type"] for event in (await answer.json())["items"]]


def command(kind: str, text: str, folder: Path) -> list[str]:
    match kind:
        case "js":
            script = folder / "client.mjs"
            script.write_text(text)
            return [
                installed_node(),
                "--experimental-eventsource",
                "--no-warnings",
                beside_modules(script, folder / "js"),
            ]
        case "python":
            return [sys.executable, "-u", "-c", text]
        case _:
            return ["bash", "-c", f"exec {text}"]


@pytest.mark.parametrize("client", CLIENTS, ids=NAMES)
async def test_a_client_as_the_page_shows_it_hears_each_event_once(
    stack: Stack, environment: dict[str, str], client: tuple[str, str], tmp_path: Path
) -> None:
    process = await asyncio.create_subprocess_exec(
        *command(*client, tmp_path), env=environment, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    heard: list[str] = []
    try:
        async with asyncio.timeout(60):
            while not heard or "job.completed" not in heard[-1]:
                line = (await process.stdout.readline()).decode()
                assert line, heard
                heard.append(line.rstrip("\n"))
            if client[0] != "sh":  # curl goes on for ever
                assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    types = await types_of(stack, environment["JOB"])
    if client[0] == "sh":
        data = [json.loads(line.removeprefix("data: ")) for line in heard if line.startswith("data: ")]
        assert [(event["version"], event["type"]) for event in data] == list(enumerate(types, 1))
    else:
        assert [line.split() for line in heard] == [[str(at), name] for at, name in enumerate(types, 1)]
